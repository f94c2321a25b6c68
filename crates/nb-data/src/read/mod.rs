//! Streaming readers: a file becomes [`Article`]s, and unusable rows become counted [`SkippedRow`]s.
//!
//! | format | row | label | text |
//! | --- | --- | --- | --- |
//! | [`Format::Lines`] | a line | none | the line |
//! | [`Format::Csv`] | a record with any [`Delimiter`], with or without RFC 4180 quoting ([`Quoting`]) | columns, or none | one or more columns |
//! | [`Format::JsonLines`] | a line holding a JSON object; keys may be nested ([`KeyPath`]) | keys, or none | one or more keys |
//! | [`Format::Parquet`] | a row of a Parquet file (feature `parquet`) | columns, or none | one or more columns |
//! | [`Format::BeirCorpus`] | a line holding a JSON object | none | `title` and/or `text` |
//! | [`Format::BeirQueries`] | a line holding a JSON object | none | `text` |
//! | [`Format::MindNews`] | a line of at least five tab-separated columns, never quoted | `category` | title and/or abstract |
//!
//! Labels are one per row, several in a list or with a separator between them, or one column of 0 and 1 per label
//! ([`LabelLayout`]).
//!
//! A [`Source`] is a file or several; [`dataset_files`] finds those of a split of a data set in a folder. Text is UTF-8 with
//! or without a byte-order mark, or UTF-16 with one, or has the [`Encoding`] of its source. Files whose names end in `.gz` or
//! `.zst` are decompressed as they are read ([`Compression`]). Lines end in LF or CRLF and have at most 64 MiB, so memory is
//! bounded whatever a file contains. White space around fields is trimmed. A row is unusable if it is not UTF-8, has too few
//! columns, has no label where labels are required, is not the JSON object (with an `_id` in BEIR's formats) that its format
//! requires, or has no text other than white space and control characters. If only the second of two texts is present, it
//! becomes the first. NUL bytes and texts of a megabyte are accepted.
//!
//! [`articles`] streams rows and leaves the limit on skipped rows to its caller; [`read()`] reads a complete file and
//! fails if too many rows are unusable.

mod article;
mod compression;
mod dataset;
mod delimiter;
mod encoding;
mod fields;
mod format;
mod input;
mod json;
mod key_path;
mod label_layout;
mod layout;
mod limit;
mod quoting;
pub(crate) mod records;
mod rows;
mod skipped;
mod source;
mod source_rows;
mod split;
mod text;
mod translations;
mod value;

pub use article::{Article, Row};
pub use compression::Compression;
pub use dataset::dataset_files;
pub use delimiter::Delimiter;
pub use encoding::Encoding;
pub use format::{Column, CsvLayout, Field, Format, Header, LabelRule, Quoting};
pub(crate) use input::{Input, open_file};
pub use key_path::KeyPath;
pub use label_layout::LabelLayout;
pub use layout::KeyLayout;
pub use quoting::unquoted_warning;
pub use rows::{Articles, articles};
pub use skipped::{Reason, ReasonCount, Skipped, SkippedRow};
pub use source::{Corpus, Source, read};
pub use source_rows::SourceRows;
pub use split::split;
#[cfg(feature = "parquet")]
pub(crate) use {
    fields::{Fields, IdRule, Parts},
    value::Value,
};
