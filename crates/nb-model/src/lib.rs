//! BERT on libtorch, for training small models alongside large ones.
//!
//! * [`Packed`]: a batch as real tokens only.
//! * [`Bert`]: the encoder, with a backward pass that adds every gradient into one contiguous [`Arena`].
//! * [`Pooling`], [`Score`], [`Dense`], [`Reader`]: the heads on top of it, as parts of autograd's graph.
//! * [`Bert::load`], [`Bert::save`]: Hugging Face folders, which `nb-checkpoint` reads and writes as bytes.
//! * [`kernel`]: the operations that these are built from. On the CPU most of them run in `nb-kernels`.
//!
//! The crate does not depend on teachers and students, losses, data formats or the configuration of a training run.

mod arena;
mod checkpoint;
mod encoder;
mod error;
mod head;
pub mod kernel;
mod packed;
mod pass;
pub mod profile;
mod segments;

pub use arena::{Arena, Layout, Slot, TouchedRows, TrainedRange};
pub use checkpoint::{fill, named_values, read_tensors, write_tensors};
pub use encoder::{Bert, Copies, Encoded, TrainedParts};
pub use error::ModelError;
pub use head::{
    AttentivePooling, Clicks, Dense, POOLING_QUERY, Pooling, Reader, Score, SelfAttention, Transform, cls_pooling,
    score, unit,
};
pub use nb_checkpoint::{Activation, BertConfig, ClassifierActivation, PoolingKind, ScaleKind, ScoreKind};
pub use packed::Packed;
pub use pass::{ActivationCheckpoint, Capture, DropoutKey, Pass, Precision};
pub use segments::Segments;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
