//! Operations of libtorch that tch does not have, for GPUs above all: attention over sequences of any lengths, and AdamW over
//! many tensors at once.
//!
#![doc = include_str!("../README.md")]

mod adamw;
mod attention;
pub mod cuda;
mod linear;
mod send;
mod shim;

pub use adamw::{Hyperparameters, Parameters, fused_adamw};
pub use attention::{Attended, Sequences, flash_attention, flash_attention_backward};
pub use linear::{Then, onednn_linear, onednn_linear_onto};
pub use send::send;
