//! Operations of libtorch that tch does not bind.
//!
#![doc = include_str!("../README.md")]

mod adamw;
mod attention;
mod backward;
pub mod cpu_slices;
pub mod cuda;
pub mod env_defaults;
mod linear;
mod send;
mod shim;

pub use adamw::{Hyperparameters, Parameters, fused_adamw};
pub use attention::{Attended, Sequences, flash_attention};
pub use backward::with_backward;
pub use linear::{Then, onednn_linear};
pub use send::send;
