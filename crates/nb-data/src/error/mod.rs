//! The errors of this crate. Every message names the file, the line or column, what was found and what was expected.

mod tokenizer;

use std::error::Error;
use std::io;
use std::path::PathBuf;

pub use self::tokenizer::TokenizerError;
use crate::read::Skipped;

/// An error of this crate. `file` is a path, or the name given to a stream (`-` for standard input).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing or cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// Reading stopped in the middle of a file.
    #[error("cannot read {file} after line {line}")]
    Read {
        /// The file or stream.
        file: String,
        /// The last line that was read, counted from 1; 0 if none was.
        line: u64,
        /// The system's error.
        source: io::Error,
    },

    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// A file has no usable row.
    #[error("{}: no usable row found ({skipped}), expected at least one", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
        /// The counts of what was found instead.
        skipped: Box<Skipped>,
    },

    /// A file without a judgement for a known query.
    #[error("{}: no query with a judgement found ({report}), expected at least one", path.display())]
    NoQueries {
        /// The file.
        path: PathBuf,
        /// The counts of what was found instead.
        report: Box<crate::beir::ReadReport>,
    },

    /// A file of judgements without a relevant document, which can neither train nor select a model.
    #[error("{}: no query with a relevant document found ({report}), expected at least one", path.display())]
    NoRelevant {
        /// The file.
        path: PathBuf,
        /// The counts of what was found instead.
        report: Box<crate::beir::ReadReport>,
    },

    /// Articles from which no retrieval data set can be made.
    #[error("{files}: no article has both a title and a text ({incomplete} have only one), expected at least one")]
    NoPairs {
        /// The files, separated by commas.
        files: String,
        /// Articles with only one text.
        incomplete: u64,
    },

    /// A format that reads one text per article where two are needed.
    #[error("{}: {found} text column(s) found, expected two: a title for the query and a text to find", path.display())]
    OneText {
        /// The file.
        path: PathBuf,
        /// Number of text columns.
        found: usize,
    },

    /// Too large a share of the rows cannot be used.
    #[error(
        "{}: {} of {rows} rows cannot be used ({skipped}), expected at most {:.4} %",
        path.display(), skipped.count(), 100.0 * allowed
    )]
    TooManyUnusable {
        /// The file.
        path: PathBuf,
        /// The rows that cannot be used, by reason.
        skipped: Box<Skipped>,
        /// Usable and unusable rows.
        rows: u64,
        /// The share that was allowed, from 0 to 1.
        allowed: f64,
    },

    /// Impressions without click labels.
    #[error(
        "{}:{line}: {found} of {rows} impressions have a candidate without a click label, expected N1-0 or N1-1 as in \
         MIND's train and dev folders",
        path.display()
    )]
    NoClicks {
        /// The file.
        path: PathBuf,
        /// The line of the first such impression, counted from 1.
        line: u64,
        /// Number of such impressions.
        found: u64,
        /// Usable and unusable rows.
        rows: u64,
    },

    /// Behaviors that show none of the known articles.
    #[error(
        "{}: none of the {impressions} impressions shows any of the {news} known articles, expected behaviors and news \
         from the same folder",
        path.display()
    )]
    NoKnownCandidate {
        /// The behaviors' file.
        path: PathBuf,
        /// Number of impressions in the file.
        impressions: usize,
        /// Number of known articles.
        news: usize,
    },

    /// A quoted CSV field never ends, or ends in the middle of a later row.
    #[error(
        "{file}:{line}: a quote is opened here and {found}, expected a closing quote before a delimiter or the end of a \
         line; set `quoting: none` if the file was written without quoting"
    )]
    OpenQuote {
        /// The file or stream.
        file: String,
        /// The line on which the quote opens, counted from 1.
        line: u64,
        /// The problem with the closing quote.
        found: String,
    },

    /// A column name that is not in the header.
    #[error("{}: no column {name:?} found, expected one of {columns:?}", place(file, *line))]
    UnknownColumn {
        /// The file or stream.
        file: String,
        /// The header's line; 0 in a format without one.
        line: u64,
        /// The requested name.
        name: String,
        /// The header's names.
        columns: Vec<String>,
    },

    /// A column given by name in a file without a header.
    #[error(
        "{file}: column {name:?} is given by name, but the file is read without a header, expected a number counted from 0"
    )]
    NameWithoutHeader {
        /// The file or stream.
        file: String,
        /// The requested name.
        name: String,
    },

    /// No text column, or one that is named twice.
    #[error("{file}: the text columns are {found}, expected one or more different columns")]
    TextColumns {
        /// The file or stream.
        file: String,
        /// The requested columns.
        found: String,
    },

    /// A format without labels where labels are required.
    #[error("{file}: no label column found, expected one because labels are required")]
    NoLabelColumn {
        /// The file or stream.
        file: String,
    },

    /// A text that cannot separate fields.
    #[error("the delimiter is '{found}', expected one or more characters without quotes and line breaks")]
    Delimiter {
        /// The delimiter, escaped.
        found: String,
    },

    /// A column that is neither a name nor a number.
    #[error("invalid column {found:?}, expected a name or a number counted from 0")]
    ColumnSyntax {
        /// The text that was given.
        found: String,
    },

    /// A name that is not one of an encoding.
    #[error(
        "unknown encoding {found:?}, expected a name such as utf-8, utf-16, gbk, gb18030, big5, shift_jis, euc-jp, euc-kr, \
         latin1, windows-1252, windows-1251 or koi8-r"
    )]
    UnknownEncoding {
        /// The name that was given.
        found: String,
    },

    /// A text that is not a path of keys.
    #[error("invalid key {found:?}, expected a name, or names with at most 32 dots between them")]
    KeyPath {
        /// The text that was given, or its beginning.
        found: String,
    },

    /// A line, or a quoted field of several lines, that is too long to hold in memory.
    #[error("{file}:{line}: a line of more than {most} bytes found, expected a shorter one")]
    LongLine {
        /// The file or stream.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// The largest number of bytes.
        most: usize,
    },

    /// A data set without a split.
    #[error("{}: no file of the split {split:?} found, expected one of the splits {found:?}", folder.display())]
    NoSplit {
        /// The data set's folder.
        folder: PathBuf,
        /// The requested split.
        split: String,
        /// The splits of the data set.
        found: Vec<String>,
    },

    /// An invalid configuration of a data set.
    #[error("{}: the header is not a valid configuration of a data set: {found}", path.display())]
    DatasetCard {
        /// The file.
        path: PathBuf,
        /// The defect.
        found: String,
    },

    /// A Parquet file that is damaged or cannot be read.
    #[error("{file}: cannot read Parquet{}", after(*row))]
    Parquet {
        /// The file.
        file: String,
        /// Number of rows read before; 0 if none was, or if it is unknown.
        row: u64,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },

    /// A column whose type cannot be used.
    #[error("{file}: column {name:?} has the type {found}, expected {expected}")]
    ColumnType {
        /// The file.
        file: String,
        /// The column.
        name: String,
        /// Its type.
        found: String,
        /// The types that can be used.
        expected: &'static str,
    },

    /// A file that cannot be read in the way that its source requires.
    #[error("{file}: {problem}")]
    Unsuitable {
        /// The file or stream.
        file: String,
        /// The problem, and the expected input.
        problem: &'static str,
    },

    /// Translations of other articles.
    #[error("{}: no id of {} found, expected translations of its articles", path.display(), articles.display())]
    NoTranslation {
        /// The file of translations.
        path: PathBuf,
        /// The file of articles.
        articles: PathBuf,
    },

    /// A label set too small to learn from.
    #[error("found {found}, expected at least two different labels")]
    TooFewLabels {
        /// The labels that were found.
        found: String,
    },

    /// A label that does not occur in the training data.
    #[error("{file}:{line}: unknown label {label:?}, expected one of the labels in the training data: {known:?}")]
    UnknownLabel {
        /// The file.
        file: String,
        /// The row's line, counted from 1.
        line: u64,
        /// The label.
        label: String,
        /// The labels of the training data.
        known: Vec<String>,
    },

    /// A tokenizer that cannot be used, or a text that it cannot process.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),

    /// A maximum length below that of the shortest sequence.
    #[error("max_tokens is {found}, expected at least {fewest}: the special tokens and one token of the text")]
    MaxTokens {
        /// The value.
        found: usize,
        /// The smallest value that works.
        fewest: usize,
    },

    /// A size of windows below that of the shortest pair.
    #[error(
        "the size of windows is {found}, expected at least {smallest}: the special tokens and one token of each text"
    )]
    WindowSize {
        /// The value.
        found: usize,
        /// The smallest value that works.
        smallest: usize,
    },

    /// A store that cannot be read back after it was written.
    #[error("{}: {found}, expected the token store that was just written", path.display())]
    Store {
        /// The store's file.
        path: PathBuf,
        /// The defect.
        found: String,
    },

    /// More rows than 32-bit row numbers can count.
    #[error("{}: more than {} rows found", path.display(), u32::MAX)]
    TooManyRows {
        /// The file.
        path: PathBuf,
    },
}

/// Completes an error of a Parquet file.
fn after(row: u64) -> String {
    if row == 0 { String::new() } else { format!(" after row {row}") }
}

/// Returns a file and a line, or the file alone for line 0.
fn place(file: &str, line: u64) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}

#[cfg(not(feature = "parquet"))]
impl DataError {
    /// Returns the error of a Parquet file in a build that cannot read it.
    pub(crate) fn no_parquet(file: String) -> Self {
        Self::Unsuitable { file, problem: "cannot read Parquet in this build, expected one with the feature `parquet`" }
    }
}
