//! Turns records into articles: finds columns, checks the encoding, and gives each unusable row its reason.

use std::fmt;
use std::io::BufRead;

use super::article::{Article, Row};
use super::format::{Column, CsvLayout, Field, Format, Header, LabelRule, Quoting};
use super::json::{self, Keys};
use super::quoting::unquoted_line;
use super::records::{Cut, Record, Records};
use super::skipped::{Reason, SkippedRow};
use super::text::{meaningful, texts};
use crate::error::DataError;

/// MIND's columns of `news.tsv`.
mod mind {
    pub(super) const ID: usize = 0;
    pub(super) const CATEGORY: usize = 1;
    pub(super) const TITLE: usize = 3;
    pub(super) const ABSTRACT: usize = 4;
}

/// Reads a stream row by row, in order, holding one row at a time.
///
/// `name` is the stream's name in errors: a path or `-`. A CSV header is read with the first row. An empty stream has
/// no rows, which is not an error here. The iterator ends after an error. A TSV with [`Quoting::Auto`] is read into
/// memory completely, since any of its rows may decide the meaning of its quotes.
///
/// ```
/// use nb_data::read::{Format, LabelRule, Reason, Row, SkippedRow, articles};
/// let input = "Rain in Rome\n\nA goal at last\n";
/// let rows = articles(input.as_bytes(), "-", &Format::Lines, LabelRule::Optional)?.collect::<Result<Vec<_>, _>>()?;
/// assert!(matches!(&rows[0], Row::Article(article) if article.first == "Rain in Rome"));
/// assert_eq!(rows[1], Row::Skipped(SkippedRow { line: 2, reason: Reason::NoText }));
/// assert_eq!(rows.len(), 3);
/// # Ok::<(), nb_data::DataError>(())
/// ```
///
/// # Errors
/// Immediately if the format is contradictory: not one or two text columns, a column by name without a header, or
/// labels required of a format without labels. Row by row if reading fails, a quote is not closed, or the header lacks
/// a column.
pub fn articles<R: BufRead>(
    reader: R,
    name: &str,
    format: &Format,
    labels: LabelRule,
) -> Result<Articles<R>, DataError> {
    let (cut, places, header) = match format {
        Format::Lines => (Cut::Line, Places::Columns(Columns::default()), None),
        Format::MindNews { fields } => (Cut::TABS, Places::Columns(Columns::mind(fields, name)?), None),
        Format::BeirCorpus { fields } => {
            let (first, second) = one_or_two(fields, name)?;
            (Cut::FilledLine, Places::Keys(Keys::corpus(*first, second.copied())), None)
        }
        Format::BeirQueries => (Cut::FilledLine, Places::Keys(Keys::QUERIES), None),
        Format::Csv(layout) => {
            check_layout(layout, name)?;
            let cut = layout.cut();
            match layout.header {
                Header::Absent => (cut, Places::Columns(Columns::numbered(layout, name)?), None),
                Header::Present => (cut, Places::Columns(Columns::default()), Some(layout.clone())),
            }
        }
    };
    let labelled = match (&header, &places) {
        (Some(layout), _) => layout.label.is_some(),
        (None, Places::Columns(columns)) => columns.label.is_some(),
        (None, Places::Keys(_)) => false,
    };
    if labels == LabelRule::Required && !labelled {
        return Err(DataError::NoLabelColumn { file: name.to_owned() });
    }
    let (records, unquoted) = match format {
        Format::Csv(layout) if layout.is_undecided() => undecided(reader, name, layout)?,
        _ => (Records::new(reader, name, cut), None),
    };
    Ok(Articles { records, record: Record::default(), header, places, labels, state: State::Reading, unquoted })
}

/// Reads a stream whose content decides the meaning of its quotes into memory, and returns its records.
fn undecided<R: BufRead>(
    mut reader: R,
    name: &str,
    layout: &CsvLayout,
) -> Result<(Records<R>, Option<u64>), DataError> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map_err(|source| {
        let line = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        DataError::Read { file: name.to_owned(), line, source }
    })?;
    let unquoted = unquoted_line(text.as_slice(), name, layout.delimiter)?;
    let quoting = if unquoted.is_some() { Quoting::None } else { Quoting::Csv };
    let cut = CsvLayout { quoting, ..layout.clone() }.cut();
    Ok((Records::ahead(text, reader, name, cut), unquoted))
}

/// An iterator over the rows of a stream; see [`articles`].
#[derive(Debug)]
pub struct Articles<R> {
    records: Records<R>,
    /// The current row; its memory is reused for the next.
    record: Record,
    /// The layout whose header has not been read yet.
    header: Option<CsvLayout>,
    places: Places,
    labels: LabelRule,
    state: State,
    unquoted: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
}

impl<R: BufRead> Iterator for Articles<R> {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let row = self.read().transpose();
        if !matches!(row, Some(Ok(_))) {
            self.state = State::Ended;
        }
        row
    }
}

impl<R: BufRead> Articles<R> {
    /// Returns the line on which a file or stream with [`Quoting::Auto`] shows that it was written without quoting, if
    /// one does. It is then read without quoting.
    #[must_use]
    pub fn unquoted_line(&self) -> Option<u64> {
        self.unquoted
    }

    /// Records that the file was found to be written without quoting, on `line`.
    pub(super) fn found_unquoted(self, line: Option<u64>) -> Self {
        Self { unquoted: line, ..self }
    }

    fn read(&mut self) -> Result<Option<Row>, DataError> {
        if let Some(layout) = self.header.take() {
            if !self.records.read(&mut self.record)? {
                return Ok(None);
            }
            self.places = Places::Columns(Columns::named(&layout, &self.record, self.records.name())?);
        }
        if !self.records.read(&mut self.record)? {
            return Ok(None);
        }
        let line = self.record.line;
        let article = match &self.places {
            Places::Columns(columns) => article(&self.record, columns, self.labels),
            Places::Keys(keys) => json::article(&self.record, keys),
        };
        Ok(Some(match article {
            Ok(article) => Row::Article(article),
            Err(reason) => Row::Skipped(SkippedRow { line, reason }),
        }))
    }
}

/// Makes an article from a record, or returns the reason why it cannot be used.
fn article(record: &Record, columns: &Columns, labels: LabelRule) -> Result<Article, Reason> {
    let text = std::str::from_utf8(&record.bytes).map_err(|_| Reason::InvalidUtf8)?;
    if record.len() < columns.needed(labels) {
        return Err(Reason::TooFewColumns);
    }
    let field = |column: Option<usize>| match column.and_then(|column| record.range(column)) {
        // Two fields that are not UTF-8 may form UTF-8 when joined; then no character begins at the field's start.
        Some(range) => text.get(range).map(meaningful).ok_or(Reason::InvalidUtf8),
        None => Ok(None),
    };
    let label = field(columns.label)?;
    if labels == LabelRule::Required && label.is_none() {
        return Err(Reason::NoLabel);
    }
    let (first, second) = texts(field(Some(columns.first))?, field(columns.second)?)?;
    Ok(Article {
        line: record.line,
        id: field(columns.id)?.map(str::to_owned),
        label: label.map(str::to_owned),
        first: first.to_owned(),
        second: second.map(str::to_owned),
    })
}

/// The parts of a record that make up an article.
#[derive(Debug)]
enum Places {
    Columns(Columns),
    Keys(Keys),
}

/// The columns that make up an article.
#[derive(Debug, Default)]
struct Columns {
    id: Option<usize>,
    label: Option<usize>,
    first: usize,
    second: Option<usize>,
}

impl Columns {
    fn mind(fields: &[Field], name: &str) -> Result<Self, DataError> {
        let place = |field: &Field| match field {
            Field::Title => mind::TITLE,
            Field::Abstract => mind::ABSTRACT,
        };
        let (first, second) = one_or_two(fields, name)?;
        Ok(Self { id: Some(mind::ID), label: Some(mind::CATEGORY), first: place(first), second: second.map(place) })
    }

    /// Returns the columns of a file without a header.
    fn numbered(layout: &CsvLayout, name: &str) -> Result<Self, DataError> {
        Self::csv(layout, name, |column| match column {
            Column::Number(number) => Ok(*number),
            Column::Name(column) => Err(DataError::NameWithoutHeader { file: name.to_owned(), name: column.clone() }),
        })
    }

    /// Returns the columns of a file with the given header.
    fn named(layout: &CsvLayout, header: &Record, name: &str) -> Result<Self, DataError> {
        let names: Vec<String> = (0..header.len())
            .filter_map(|field| header.range(field))
            .map(|range| String::from_utf8_lossy(&header.bytes[range]).trim().to_owned())
            .collect();
        Self::csv(layout, name, |column| match column {
            Column::Number(number) => Ok(*number),
            Column::Name(column) => names.iter().position(|name| name == column).ok_or_else(|| {
                let (file, line) = (name.to_owned(), header.line);
                DataError::UnknownColumn { file, line, name: column.clone(), columns: names.clone() }
            }),
        })
    }

    fn csv(
        layout: &CsvLayout,
        name: &str,
        place: impl Fn(&Column) -> Result<usize, DataError>,
    ) -> Result<Self, DataError> {
        let (first, second) = one_or_two(&layout.text, name)?;
        Ok(Self {
            id: None,
            label: layout.label.as_ref().map(&place).transpose()?,
            first: place(first)?,
            second: second.map(&place).transpose()?,
        })
    }

    /// Returns the number of columns that a row must have.
    fn needed(&self, labels: LabelRule) -> usize {
        let label = self.label.filter(|_| labels == LabelRule::Required);
        // The configured number may be huge; no row has that many columns.
        self.first.max(self.second.unwrap_or(0)).max(label.unwrap_or(0)).saturating_add(1)
    }
}

/// Checks a layout as far as possible before the header is read.
fn check_layout(layout: &CsvLayout, name: &str) -> Result<(), DataError> {
    let delimiter = layout.delimiter;
    if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\r' | b'\n') {
        return Err(DataError::Delimiter { file: name.to_owned(), found: delimiter.escape_ascii().to_string() });
    }
    one_or_two(&layout.text, name).map(|_| ())
}

fn one_or_two<'a, T: PartialEq + fmt::Display>(
    texts: &'a [T],
    name: &str,
) -> Result<(&'a T, Option<&'a T>), DataError> {
    match texts {
        [first] => Ok((first, None)),
        [first, second] if first != second => Ok((first, Some(second))),
        _ => {
            let found = texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(DataError::TextColumns { file: name.to_owned(), found: format!("[{found}]") })
        }
    }
}
