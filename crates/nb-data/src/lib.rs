//! News data for BERT, without libtorch: from a file of articles to packed batches of token ids.
//!
//! ```text
//! tsv, csv, jsonl, parquet, txt ─ read ─ Article ─ Tokenizer ─ TokenStore (memory-mapped) ─ batch(rows) ─ TokenBatch
//!                                   labels ─ Labels          order(seed, epoch), cut(size) ─ rows
//! ```
//!
//! - [`read`]: streaming readers for MIND's `news.tsv`, CSV and TSV, JSON lines, Parquet, BEIR, and plain lines, compressed
//!   or not, in any encoding; unusable rows are counted.
//! - [`labels`]: the label set, collected from training data.
//! - [`behaviors`]: MIND's `behaviors.tsv` and EB-NeRD (the articles that readers were shown and clicked), read in parallel;
//!   training samples, negatives, batches of readers. [`IdIndex`] finds the rows of articles by their ids.
//! - [`beir`]: queries, a corpus and judgements in BEIR's layout; training batches, and the conversion of articles.
//! - [`random`]: a random number generator whose numbers are part of this crate's contract.
//! - [`batch`]: seeded shuffling, cutting into batches, packed token batches.
//! - [`sample`]: a generated corpus for trying things out.
//! - `tokenizer`, `store` (feature `tokenize`, on by default): a checkpoint's tokenizer and the on-disk token store.
//!
//! Feature `parquet` (off by default) reads Parquet files of articles and impressions.
//!
//! The crate does not deal with tensors, devices, models or configuration files, and prints nothing.

mod atomic;
pub mod batch;
pub mod behaviors;
pub mod beir;
mod error;
mod ids;
pub mod labels;
mod missing;
#[cfg(feature = "parquet")]
mod parquet;
pub mod random;
pub mod read;
pub mod sample;
#[cfg(feature = "tokenize")]
pub mod store;
#[cfg(feature = "tokenize")]
pub mod tokenizer;

pub use batch::{BatchSize, TokenBatch, Tokens, Window};
pub use error::{DataError, TokenizerError};
pub use ids::{IdIndex, Repeated};
pub use labels::{LabelNumbers, Labels};
pub use missing::MissingFile;
#[cfg(feature = "tokenize")]
pub use store::TokenStore;
#[cfg(feature = "tokenize")]
pub use tokenizer::Tokenizer;

#[cfg(all(doctest, feature = "tokenize"))]
#[doc = include_str!("../README.md")]
struct Readme;
