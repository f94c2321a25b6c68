//! What can go wrong with data: every message names the file, the line or column, what was found and what was expected.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::read::Skipped;

/// An error of this crate. `file` is a path, or the name given to a stream (`-` for standard input).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing or may not be read.
    #[error("{}: cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// Reading stopped in the middle of a file.
    #[error("{file}: cannot be read after line {line}")]
    Read {
        /// The file or stream.
        file: String,
        /// The last line that was read, counted from 1; 0 if none was.
        line: u64,
        /// Why.
        source: io::Error,
    },

    /// A file could not be written.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A file holds no usable row.
    #[error("{}: no usable row found ({skipped}), expected at least one", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
        /// The counts of what was found instead.
        skipped: Box<Skipped>,
    },

    /// Judgements of queries that are not there.
    #[error("{}: no query with a judgement found ({report}), expected at least one", path.display())]
    NoQueries {
        /// The file.
        path: PathBuf,
        /// The counts of what was found instead.
        report: Box<crate::beir::ReadReport>,
    },

    /// Judgements from which nothing can be learned, and by which no model can be chosen.
    #[error("{}: no query with a relevant document found ({report}), expected at least one", path.display())]
    NoRelevant {
        /// The file.
        path: PathBuf,
        /// The counts of what was found instead.
        report: Box<crate::beir::ReadReport>,
    },

    /// News of which nothing can be searched for.
    #[error(
        "{files}: no news with both a title and a text found ({incomplete} with one of them), expected at least one"
    )]
    NoPairs {
        /// The files, separated by commas.
        files: String,
        /// News with one text.
        incomplete: u64,
    },

    /// News of which only one text is read, where two are needed.
    #[error("{}: {found} text column(s) found, expected two: a title for the query and a text to find", path.display())]
    OneText {
        /// The file.
        path: PathBuf,
        /// How many columns are read.
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
        /// What is wrong with the rows.
        skipped: Box<Skipped>,
        /// Usable and unusable rows.
        rows: u64,
        /// The share that was allowed, from 0 to 1.
        allowed: f64,
    },

    /// Impressions that do not say what was clicked.
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
        /// How many there are.
        found: u64,
        /// Usable and unusable rows.
        rows: u64,
    },

    /// Behaviors and news that have nothing to do with each other.
    #[error(
        "{}: none of the {impressions} impressions shows a news of the {news} that were given, expected behaviors and \
         news of the same folder",
        path.display()
    )]
    NoKnownCandidate {
        /// The behaviors' file.
        path: PathBuf,
        /// How many impressions it has.
        impressions: usize,
        /// How many news there are.
        news: usize,
    },

    /// A quoted CSV field never ends, or ends in the middle of a later row.
    #[error(
        "{file}:{line}: a quote is opened here and {found}, expected a closing quote before a delimiter or the end of a \
         line; if the file was written without quoting, have it read so (quoting: none)"
    )]
    OpenQuote {
        /// The file or stream.
        file: String,
        /// The line on which the quote opens, counted from 1.
        line: u64,
        /// Where the field ends instead.
        found: String,
    },

    /// A column is named that the header does not have.
    #[error("{file}:{line}: no column {name:?} found, expected one of {columns:?}")]
    UnknownColumn {
        /// The file or stream.
        file: String,
        /// The header's line.
        line: u64,
        /// The name that was asked for.
        name: String,
        /// The header's names.
        columns: Vec<String>,
    },

    /// A column is asked for by name in a file without a header.
    #[error(
        "{file}: column {name:?} is given by name and the file is read without a header, expected a number counted from 0"
    )]
    NameWithoutHeader {
        /// The file or stream.
        file: String,
        /// The name that was asked for.
        name: String,
    },

    /// The text of an article is not one or two columns.
    #[error("{file}: text columns {found} found, expected one or two different ones")]
    TextColumns {
        /// The file or stream.
        file: String,
        /// Which columns were asked for.
        found: String,
    },

    /// Labels are required of a format that has none.
    #[error("{file}: no label column found, expected one because labels are required")]
    NoLabelColumn {
        /// The file or stream.
        file: String,
    },

    /// A byte that cannot stand between fields.
    #[error("{file}: delimiter '{found}' found, expected an ASCII character other than a quote or a line break")]
    Delimiter {
        /// The file or stream.
        file: String,
        /// The delimiter, escaped.
        found: String,
    },

    /// A column is neither a name nor a number.
    #[error("column {found:?} found, expected a name or a number counted from 0")]
    ColumnSyntax {
        /// What was written.
        found: String,
    },

    /// A label set that nothing can be learned from.
    #[error("{found} found, expected at least two different labels")]
    TooFewLabels {
        /// The labels there are.
        found: String,
    },

    /// A label that the training data does not have.
    #[error("{file}:{line}: label {label:?} found, expected one of the training data's: {known:?}")]
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

    /// A folder without a tokenizer.
    #[error("{}: no tokenizer found, expected tokenizer.json or vocab.txt", folder.display())]
    NoTokenizer {
        /// The folder.
        folder: PathBuf,
    },

    /// A tokenizer's file that does not make sense.
    #[error("{}: not a tokenizer that can be used", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },

    /// A tokenizer of a class that is not read here.
    #[error(
        "{}: `{key}` is {found}, which splits texts in a way of its own, expected BertTokenizer, XLMRobertaTokenizer or \
         PreTrainedTokenizerFast; save the tokenizer as a PreTrainedTokenizerFast with a tokenizer.json if that is possible",
        path.display()
    )]
    TokenizerClass {
        /// The file of the key.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
    },

    /// A tokenizer that is code.
    #[error(
        "{}: `auto_map` found, so the tokenizer is code in its repository, which is not run; expected BertTokenizer, \
         XLMRobertaTokenizer or PreTrainedTokenizerFast; save the tokenizer as a PreTrainedTokenizerFast with a \
         tokenizer.json if that is possible",
        path.display()
    )]
    TokenizerCode {
        /// The file.
        path: PathBuf,
    },

    /// A tokenizer without one of the tokens that every sequence needs.
    #[error("{}: no token {token:?} found, expected it in the vocabulary because sequences begin and end with it", path.display())]
    NoSpecialToken {
        /// The tokenizer's file.
        path: PathBuf,
        /// The token.
        token: String,
    },

    /// A text that the tokenizer fails on.
    #[error("a text beginning {start:?} cannot be tokenised")]
    Encode {
        /// How the text begins.
        start: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },

    /// Room for fewer tokens than a sequence needs.
    #[error("max_tokens {found} found, expected at least {fewest} for the special tokens and one token of the text")]
    MaxTokens {
        /// The value.
        found: usize,
        /// The smallest value that works.
        fewest: usize,
    },

    /// A store just written cannot be read back.
    #[error("{}: {found}, expected the token store that was just written", path.display())]
    Store {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },

    /// More rows than row numbers.
    #[error("{}: more than {} rows found", path.display(), u32::MAX)]
    TooManyRows {
        /// The file.
        path: PathBuf,
    },
}
