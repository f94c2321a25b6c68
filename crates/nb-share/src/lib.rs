//! Parameters and layers that a student shares with its teacher.
//!
//! * [`LayerMap`]: the teacher layers that each student layer stands for.
//! * [`initialise`]: the student's initial weights, copied from the teacher.
//! * [`Shared`]: a module that teacher and student may share.
//!
//! The crate knows nothing of losses, gradients, tasks or training.

mod init;
mod map;
mod shared;

pub use init::{Init, initialise};
pub use map::{DepthError, LayerMap};
pub use shared::{Shared, Sharing};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
