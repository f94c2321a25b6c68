//! What libtorch can do and tch has no words for.
//!
#![doc = include_str!("../README.md")]

mod adamw;
mod attention;
pub mod cuda;
mod linear;
mod own;
mod send;
mod shim;

pub use adamw::{Hyperparameters, Parameters, fused_adamw};
pub use attention::{Attended, Sequences, flash_attention};
pub use linear::{Then, onednn_linear};
pub use own::with_backward;
pub use send::send;
