//! Parameters and layers that a student shares with its teacher.
//!
//! * [`LayerMap`]: the teacher layers that each student layer stands for.
//! * [`initialise`]: the student's initial weights, copied from the teacher.
//! * [`Shared`]: a module that teacher and student may share.
//!
//! The crate is independent of losses, gradients, tasks and training.

mod init;
mod map;
mod shared;

pub use init::{end_layers, first_layers, initialise, spaced_layers};
pub use map::{DepthError, LayerMap};
pub use shared::{Shared, Sharing};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
