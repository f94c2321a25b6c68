//! How a file is laid out: formats, columns, fields. Plain values; nothing here reads.

use std::fmt;
use std::str::FromStr;

use super::records::Cut;
use crate::error::DataError;
use crate::ids::Repeated;

/// The layout of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One text per line, without labels.
    Lines,
    /// CSV, or TSV with a tab for a delimiter.
    Csv(CsvLayout),
    /// MIND's `news.tsv`: id, category, subcategory, title, abstract, and columns that are not read.
    MindNews {
        /// Which fields make up the text: one or two different ones, the first of which is the article's first text.
        fields: Vec<Field>,
    },
    /// BEIR's `corpus.jsonl`: a JSON object per line, with `_id`, `title` and `text`; other keys are not read.
    BeirCorpus {
        /// As for MIND: `title` is [`Field::Title`], `text` is [`Field::Abstract`].
        fields: Vec<Field>,
    },
    /// BEIR's `queries.jsonl`: a JSON object per line, with `_id` and `text`; other keys are not read.
    BeirQueries,
}

impl Format {
    /// How many texts an article has at most: one or two.
    #[must_use]
    pub fn texts(&self) -> usize {
        match self {
            Self::Lines | Self::BeirQueries => 1,
            Self::Csv(layout) => layout.text.len(),
            Self::MindNews { fields } | Self::BeirCorpus { fields } => fields.len(),
        }
    }

    /// The row that holds where several have one id: BEIR's last, else the first.
    #[must_use]
    pub fn repeated(&self) -> Repeated {
        match self {
            Self::BeirCorpus { .. } | Self::BeirQueries => Repeated::Last,
            Self::Lines | Self::Csv(_) | Self::MindNews { .. } => Repeated::First,
        }
    }
}

impl Format {
    /// With [`Quoting::Auto`] replaced by what a file says, which was found on line `unquoted` to be written without.
    pub(super) fn decided(&self, unquoted: Option<u64>) -> Self {
        match self {
            Self::Csv(layout) if layout.quoting == Quoting::Auto => {
                let quoting = if unquoted.is_some() { Quoting::None } else { Quoting::Csv };
                Self::Csv(CsvLayout { quoting, ..layout.clone() })
            }
            other => other.clone(),
        }
    }
}

impl CsvLayout {
    /// Returns true if the meaning of quotes depends on the file's content.
    pub(super) fn is_undecided(&self) -> bool {
        self.quoting == Quoting::Auto && self.delimiter == b'\t'
    }

    pub(super) fn cut(&self) -> Cut {
        match self.quoting {
            Quoting::Auto | Quoting::Csv => Cut::Quoted { delimiter: self.delimiter },
            Quoting::None => Cut::Plain { delimiter: self.delimiter },
        }
    }
}

/// A text field of MIND's `news.tsv`, or what stands for it elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The headline: MIND's fourth column.
    Title,
    /// What the news says: MIND's fifth column.
    Abstract,
}

/// Whether labels are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelRule {
    /// A row without a label is unusable, and a format without labels an error.
    Required,
    /// A row without a label is an article without a label.
    Optional,
}

/// The layout of a CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvLayout {
    /// Where the label stands, if there is one.
    pub label: Option<Column>,
    /// Where the text stands: one or two columns.
    pub text: Vec<Column>,
    /// Whether the first row holds names.
    pub header: Header,
    /// The byte between fields: `b','`, `b'\t'`, `b';'`.
    pub delimiter: u8,
    /// The meaning of a `"`.
    pub quoting: Quoting,
}

/// The meaning of a `"` at the beginning of a CSV or TSV field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quoting {
    /// As [`Quoting::Csv`] wherever the delimiter is not a tab. A TSV is read as [`Quoting::None`] if its quotes show
    /// that it was written so, which many are, else as [`Quoting::Csv`].
    ///
    /// The first of these decides: a quote that is never closed; one that closes in the middle of a field; a quoted field
    /// over several lines of which more than half have as many tabs as the first line without a quote, so that they
    /// are rows of their own; a quoted field on one line that swallows a tab which the row needs to have that many.
    #[default]
    Auto,
    /// Quoting as in RFC 4180: `"` around a field, doubled inside it; a quoted field may hold delimiters and line breaks.
    Csv,
    /// Nothing: a line is a row, and a quote a character like any other.
    None,
}

/// Whether the first row of a CSV file names the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It does, and is no article.
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
    /// By the name that the header gives it, letter by letter.
    Name(String),
    /// By its place, counted from 0.
    Number(usize),
}

impl FromStr for Column {
    type Err = DataError;

    /// A number if it consists of digits, else a name.
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
