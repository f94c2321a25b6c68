//! [`Model::open`] reads the folder of a student, or any Hugging Face BERT that says how to pool; the model computes topics and
//! vectors of texts.
//!
#![doc = include_str!("../README.md")]
//!
//! # Precision
//!
//! | [`Precision`] | weights | products | needs |
//! | --- | --- | --- | --- |
//! | `F32` | f32 | f32 | any processor; fast with AVX2 or AVX-512 |
//! | `Bf16` | bf16 | bf16, sums in f32 | AVX-512 BF16; elsewhere products are f32 |
//! | `Int8` | 8 bits and a scale per output | 8 bits and a scale per token, sums in i32 | any processor; fast with AVX-512 VNNI or AVX2 |
//!
//! Embeddings, attention, LayerNorm, pooling and the head are f32 in each of them, and so are biases, except that products in f32
//! round them with the weights in `Bf16`.
//!
//! A text's result has the same bits whatever else is in the call and however many threads there are.

mod batch;
mod dense;
mod encoder;
mod error;
mod head;
mod model;
mod opening;
mod options;
mod pooling;
mod ranges;
mod reader;
mod text;

pub use error::InferError;
pub use model::Model;
pub use nb_checkpoint::{Description, PoolingKind, ScoreKind};
pub use nb_data::Tokens;
pub use nb_data::read::Field;
pub use options::{Options, Precision};
pub use ranges::{InputRange, LayerRanges};
pub use reader::Readers;
pub use text::{Text, TextCounts};
