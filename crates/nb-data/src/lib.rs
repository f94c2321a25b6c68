//! News data for BERT, without libtorch: a file of articles goes in, packed batches of token ids come out.
//!
//! ```text
//! news.tsv, *.csv, *.txt ─ read ─ Article ─ Tokenizer ─ TokenStore (memory-mapped) ─ batch(rows) ─ TokenBatch
//!                                   labels ─ Labels          order(seed, epoch), cut(size) ─ rows
//! ```
//!
//! - [`read`]: streaming readers for MIND's `news.tsv`, CSV and TSV, BEIR's JSON lines, and plain lines; unusable rows are counted.
//! - [`labels`]: the label set, learned from training data.
//! - [`behaviors`]: MIND's `behaviors.tsv` (who was shown which news and clicked what), read in parallel; training
//!   samples, negatives, batches of readers. [`IdIndex`] finds the rows of news by their ids.
//! - [`beir`]: queries, a corpus and judgements in BEIR's layout; training batches of them, and such a folder of news.
//! - [`random`]: a small random stream whose numbers are part of this crate's contract.
//! - [`batch`]: seeded order, the cut into batches, packed token batches.
//! - [`sample`]: a corpus to try things on, written from a seed.
//! - `tokenizer`, `store` (feature `tokenize`, on by default): a checkpoint's tokenizer and the on-disk token store.
//!
//! The crate knows nothing of tensors, devices, models or configuration files, and prints nothing.

mod atomic;
pub mod batch;
pub mod behaviors;
pub mod beir;
mod error;
mod ids;
pub mod labels;
pub mod random;
pub mod read;
pub mod sample;
#[cfg(feature = "tokenize")]
pub mod store;
#[cfg(feature = "tokenize")]
pub mod tokenizer;

pub use batch::{BatchSize, TokenBatch, Tokens};
pub use error::DataError;
pub use ids::{IdIndex, Repeated};
pub use labels::Labels;
#[cfg(feature = "tokenize")]
pub use store::TokenStore;
#[cfg(feature = "tokenize")]
pub use tokenizer::Tokenizer;

#[cfg(all(doctest, feature = "tokenize"))]
#[doc = include_str!("../README.md")]
struct Readme;
