//! Parquet files: opened, checked, and read by batches of rows.
//!
//! ```text
//! footer ─ check ─ columns by path ─ pages of a row group ─ check ─ batches ─ rows (articles), impressions
//! ```
//!
//! Only the wanted columns are read, and memory holds one batch and the pages that it comes from: for each text column
//! pages of at most 1 GiB each, and for each list column at most 2^24 entries, or 8 for each byte of its row group, up to 2^28.
//! The sizes that a damaged or hostile file claims are compared with its length first; a panic of the `parquet` crate becomes
//! an error.

mod class_names;
mod columns;
mod file;
mod guard;
mod pages;
mod rows;
mod thrift;
mod values;

pub(crate) use columns::Found;
pub(crate) use file::ParquetFile;
pub(crate) use rows::{ParquetRows, wrong_type};
pub(crate) use values::{array, bytes, integers, is_text};
