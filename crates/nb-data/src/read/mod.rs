//! Streaming readers: a file becomes [`Article`]s, and rows that cannot be used become counted [`SkippedRow`]s.
//!
//! | format | row | label | text |
//! | --- | --- | --- | --- |
//! | [`Format::Lines`] | a line | none | the line |
//! | [`Format::Csv`] | a record of any delimiter, quoted as in RFC 4180 or not ([`Quoting`]) | a column, or none | one or two columns |
//! | [`Format::BeirCorpus`] | a line holding a JSON object | none | `title` and/or `text` |
//! | [`Format::BeirQueries`] | a line holding a JSON object | none | `text` |
//! | [`Format::MindNews`] | a line of at least five tab-separated columns, never quoted | `category` | title and/or abstract |
//!
//! In all of them the text is UTF-8 with or without a byte-order mark, lines end in LF or CRLF, and fields are trimmed
//! of white space. A row is unusable if it is not UTF-8, has too few columns, has no label where labels are required,
//! is no JSON object with an `_id` where it should be one, or has nothing but white space and control characters for a
//! text. If only the second of two texts is there, it takes the place of the first. A NUL byte or a text of a megabyte
//! makes no row unusable.
//!
//! [`articles`] streams and leaves the judgement of skipped rows to its caller; [`read()`] reads a whole file and
//! refuses it if too many rows are unusable.

mod article;
mod format;
mod json;
mod limit;
mod quoting;
pub(crate) mod records;
mod rows;
mod skipped;
mod source;
mod split;
mod text;

pub use article::{Article, Row};
pub use format::{Column, CsvLayout, Field, Format, Header, LabelRule, Quoting};
pub use rows::{Articles, articles};
pub use skipped::{Reason, Skipped, SkippedRow};
pub(crate) use source::open_file;
pub use source::{Corpus, Source, read};
pub use split::split;
