//! BERT on libtorch, made for training small models beside large ones.
//!
//! * [`Packed`]: a batch as real tokens only.
//! * [`Bert`]: the encoder, with a backward pass that adds every gradient into one contiguous [`Arena`].
//! * [`AttentivePooling`], [`Dense`], [`Reader`]: what stands on it, as parts of autograd's graph.
//! * [`Bert::load`], [`Bert::save`]: Hugging Face folders, which `nb-checkpoint` reads and writes as bytes.
//!
//! It knows nothing of teachers and students, of losses, of data formats or of configuration files of a run.

mod arena;
mod checkpoint;
mod config;
mod encoder;
mod error;
pub mod host;
mod kernel;
mod packed;
pub mod pool;
pub mod profile;
mod runs;
mod top;

#[doc(hidden)]
pub use kernel::bench;

pub use arena::{Arena, Layout, Slot, TouchedRows};
pub use checkpoint::{fill, named_values, read_tensors, write_tensors};
pub use encoder::{Bert, Capture, DropoutKey, Encoded, Keep, Pass, Precision};
pub use error::ModelError;
pub use nb_checkpoint::{Activation, BertConfig};
pub use packed::Packed;
pub use runs::Runs;
pub use top::{
    AttentivePooling, Clicks, Dense, POOLING_QUERY, Reader, SelfAttention, cls_pooling, mean_pooling, score,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
