//! What libtorch can do and tch has no words for.
//!
#![doc = include_str!("../README.md")]

mod adamw;
mod attention;
mod backward;
pub mod cpu_slices;
pub mod cuda;
mod linear;
mod send;
mod shim;

pub use adamw::{Hyperparameters, Parameters, fused_adamw};
pub use attention::{Attended, Sequences, flash_attention};
pub use backward::with_backward;
pub use linear::{Then, onednn_linear};
pub use send::send;
