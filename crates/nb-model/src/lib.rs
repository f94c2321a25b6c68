//! BERT on libtorch, for training small models beside large ones.
//!
//! * [`Packed`]: a batch as real tokens only.
//! * [`Bert`]: the encoder, with a backward pass that adds every gradient into one contiguous [`Arena`].
//! * [`AttentivePooling`], [`Dense`], [`Reader`]: the heads on top of it, as parts of autograd's graph.
//! * [`Checkpoint`], [`Bert::load`], [`Bert::save`]: Hugging Face folders.
//! * [`kernel`]: the operations that these consist of. On the CPU most of them run in `nb-kernels`.
//!
//! The crate knows nothing of teachers and students, losses, data formats or the configuration of a training run.

mod arena;
mod checkpoint;
mod config;
mod encoder;
mod error;
mod head;
pub mod kernel;
mod packed;
mod pass;
pub mod profile;
mod segments;

pub use arena::{Arena, Layout, Slot, TouchedRows};
pub use checkpoint::{
    CONFIG_FILE, Checkpoint, WEIGHTS_FILE, fill, mirror_folder, named_values, read_tensors, write_tensors,
};
pub use config::{Activation, BertConfig};
pub use encoder::{Bert, Encoded, parameter_count, parameter_layout};
pub use error::ModelError;
pub use head::{
    AttentivePooling, Clicks, Dense, POOLING_QUERY, Reader, SelfAttention, cls_pooling, mean_pooling, score,
};
pub use packed::Packed;
pub use pass::{ActivationCheckpoint, Capture, DropoutKey, Pass, Precision};
pub use segments::Segments;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
