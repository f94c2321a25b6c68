//! [`Model::open`] maps the folder of a student, or any Hugging Face BERT that says how to pool; the model computes topics and
//! vectors of texts, and vectors of readers ([`Readers`]). A folder of sentence-transformers gives the vectors of
//! `SentenceTransformer(folder).encode(texts)`: pooling by the mean or the first token, Dense modules, and a normalisation.
//!
#![doc = include_str!("../README.md")]
//!
//! # Precision
//!
//! | [`Precision`] | weights | products | needs |
//! | --- | --- | --- | --- |
//! | `F32` | f32 | f32 | any processor; fast with AVX2 or AVX-512 |
//! | `Bf16` | bf16 | bf16, sums in f32 | AVX-512 BF16; elsewhere products are f32 |
//! | `Int8` | 8 bits and a scale per output | 8 bits and a scale per token, sums in i32 | any processor; fast with AVX-512 VNNI, AVX-VNNI or AVX2 |
//!
//! [`Precision::AsSaved`], the default, is int8 for a folder that `nb export --to int8` wrote, and f32 for others.
//!
//! Embeddings, attention, LayerNorm, pooling and the head are f32 in each of them, and so are biases, except that products in f32
//! round them with the weights in `Bf16`.
//!
//! Weights are mapped into memory: the embedding of a word is read when the word first occurs. The files of an open model must not be
//! changed in place, only replaced.
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
mod transform;
mod unit_vector;

pub use error::InferError;
pub use model::Model;
pub use nb_checkpoint::{Description, PoolingKind, ScoreKind};
pub use nb_data::Tokens;
pub use nb_data::read::Field;
pub use options::{Options, Precision};
pub use ranges::{InputRange, LayerRanges};
pub use reader::Readers;
pub use text::{Text, TextCounts, Topic};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct WorkspaceReadme;
