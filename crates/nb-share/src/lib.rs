//! What a student takes from its teacher.
//!
//! * [`LayerMap`]: which teacher layers stand behind a student layer.
//! * [`initialise`]: the student's first weights, copied from the teacher.
//! * [`Shared`]: a module that teacher and student may hold in common.
//!
//! It knows nothing of losses, gradients, tasks or training.

mod init;
mod map;
mod shared;

pub use init::{Init, initialise};
pub use map::{DepthError, LayerMap};
pub use shared::{Shared, Sharing};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
