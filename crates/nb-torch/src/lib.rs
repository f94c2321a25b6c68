//! Operations of libtorch that tch does not bind.
//!
#![doc = include_str!("../README.md")]

mod adamw;
mod arguments;
mod attention;
mod backward;
pub mod cpu_slices;
pub mod cuda;
pub mod env_defaults;
mod linear;
mod send;
mod shim;
mod zeros;

pub use adamw::fused_adamw;
pub use arguments::{Hyperparameters, Parameters, Then};
pub use attention::{Attended, Sequences, flash_attention};
pub use backward::with_backward;
pub use linear::onednn_linear;
pub use send::send;
pub use zeros::{populate, zeros_on_demand};
