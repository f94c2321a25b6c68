//! Layouts of files: formats, columns and fields. These are plain values; this module reads no file.

use std::fmt;
use std::str::FromStr;

use super::delimiter::Delimiter;
use super::label_layout::LabelLayout;
use super::layout::KeyLayout;
use super::records::Cut;
use crate::error::DataError;
use crate::ids::Repeated;

/// The format of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One text per line, without labels.
    Lines,
    /// CSV, TSV, or values between any other delimiter.
    Csv(CsvLayout),
    /// A JSON object per line.
    JsonLines(KeyLayout),
    /// Parquet, with the feature `parquet`. A row counts as a line.
    Parquet(KeyLayout),
    /// MIND's `news.tsv`: id, category, subcategory, title, abstract; further columns are ignored.
    MindNews {
        /// The fields that make up the text: one or two different ones, in the order of the article's texts.
        fields: Vec<Field>,
    },
    /// BEIR's `corpus.jsonl`: a JSON object per line, with `_id`, `title` and `text`; other keys are ignored.
    BeirCorpus {
        /// The fields as for MIND: `title` is [`Field::Title`], `text` is [`Field::Abstract`].
        fields: Vec<Field>,
    },
    /// BEIR's `queries.jsonl`: a JSON object per line, with `_id` and `text`; other keys are ignored.
    BeirQueries,
}

impl Format {
    /// Returns the largest number of texts of an article: one or two.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.text_columns().min(2)
    }

    /// Returns the number of columns, keys or fields that a layout names for an article's texts: from the second to the
    /// last, they make up its second text.
    #[must_use]
    pub fn text_columns(&self) -> usize {
        match self {
            Self::Lines | Self::BeirQueries => 1,
            Self::Csv(layout) => layout.text.len(),
            Self::JsonLines(layout) | Self::Parquet(layout) => layout.text.len(),
            Self::MindNews { fields } | Self::BeirCorpus { fields } => fields.len(),
        }
    }

    /// Returns the rule for rows that share an id: the last one counts in BEIR's formats, else the first.
    #[must_use]
    pub fn repeated(&self) -> Repeated {
        match self {
            Self::BeirCorpus { .. } | Self::BeirQueries => Repeated::Last,
            _ => Repeated::First,
        }
    }
}

impl Format {
    /// Returns the format with [`Quoting::Auto`] resolved: no quoting if `unquoted` is the line that shows it, else CSV
    /// quoting.
    pub(super) fn decided(&self, unquoted: Option<u64>) -> Self {
        match self {
            Self::Csv(layout) if layout.quoting == Quoting::Auto => {
                let is_plain = unquoted.is_some() || layout.delimiter.byte().is_none();
                let quoting = if is_plain { Quoting::None } else { Quoting::Csv };
                Self::Csv(CsvLayout { quoting, ..layout.clone() })
            }
            other => other.clone(),
        }
    }
}

impl CsvLayout {
    /// Returns the delimiter if the meaning of quotes depends on the file's content.
    pub(super) fn undecided(&self) -> Option<u8> {
        self.delimiter.byte().filter(|&byte| self.quoting == Quoting::Auto && byte == b'\t')
    }

    pub(super) fn cut(&self) -> Cut {
        match (self.delimiter.byte(), self.quoting) {
            (None, _) => Cut::Several { delimiter: self.delimiter.to_string() },
            (Some(delimiter), Quoting::Auto | Quoting::Csv) => Cut::Quoted { delimiter },
            (Some(delimiter), Quoting::None) => Cut::Plain { delimiter },
        }
    }
}

/// A text field of MIND's `news.tsv`, or its equivalent in other formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The headline: MIND's fourth column.
    Title,
    /// The article's abstract: MIND's fifth column.
    Abstract,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Title => "title",
            Self::Abstract => "abstract",
        })
    }
}

/// The rule for rows without a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelRule {
    /// A row without a label is unusable, and a format without labels is an error.
    Required,
    /// A row without a label is an article without a label.
    Optional,
    /// A row has any number of labels, also none; a format without labels is an error.
    AnyNumber,
}

impl LabelRule {
    /// Returns true if a format without labels is an error.
    pub(crate) fn needs_column(self) -> bool {
        self != Self::Optional
    }
}

/// The layout of a CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvLayout {
    /// The columns of the labels, if there are any.
    pub label: Option<LabelLayout<Column>>,
    /// The columns of the text: one or more ([`Article::second`](super::Article::second)).
    pub text: Vec<Column>,
    /// The role of the first row.
    pub header: Header,
    /// The text between fields.
    pub delimiter: Delimiter,
    /// The meaning of a `"`.
    pub quoting: Quoting,
}

/// The meaning of a `"` at the beginning of a CSV or TSV field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quoting {
    /// Depends on the file. A file with a delimiter other than a tab is read with [`Quoting::Csv`], or with
    /// [`Quoting::None`] if the delimiter is not a single ASCII character. A TSV is read with
    /// [`Quoting::None`] if its quotes show that it was written without quoting, as many are, else with
    /// [`Quoting::Csv`].
    ///
    /// Any of these shows it:
    ///
    /// - a quote that is never closed;
    /// - a quote that closes in the middle of a field;
    /// - a quoted field that spans several lines, more than half of which have as many tabs as the first line without a
    ///   quote and so are separate rows;
    /// - a quoted field on one line that contains a tab without which the row has too few.
    #[default]
    Auto,
    /// Quoting as in RFC 4180: `"` around a field, doubled inside it; a quoted field may contain delimiters and line
    /// breaks. An error with a delimiter of several characters, or one such as `¦` that is not ASCII: no program quotes
    /// fields between those.
    Csv,
    /// No quoting: a line is a row, and a quote is a character like any other.
    None,
}

/// The role of the first row of a CSV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It names the columns.
    Present,
    /// It is an article like any other.
    Absent,
}

/// A column of a CSV file.
///
/// ```
/// use nb_data::read::Column;
/// assert_eq!("3".parse::<Column>()?, Column::Number(3));
/// assert_eq!("headline".parse::<Column>()?, Column::Name("headline".into()));
/// # Ok::<(), nb_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// The exact name in the header.
    Name(String),
    /// The position, counted from 0.
    Number(usize),
}

impl FromStr for Column {
    type Err = DataError;

    /// Parses digits as a number and anything else as a name.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let text = text.trim();
        let wrong = || DataError::ColumnSyntax { found: text.to_owned() };
        if text.is_empty() {
            Err(wrong())
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map(Self::Number).map_err(|_| wrong())
        } else {
            Ok(Self::Name(text.to_owned()))
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}
