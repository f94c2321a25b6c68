//! Turns records into articles: finds columns, checks the encoding, and gives each unusable row its reason.

use std::io::BufRead;

use super::article::{Article, Row};
use super::fields::{Fields, IdRule, Parts};
use super::format::{Column, CsvLayout, Field, Format, Header, LabelRule, Quoting};
use super::json::Wanted;
use super::key_path::KeyPath;
use super::label_layout::{LabelPlaces, RowLabels};
use super::layout::{KeyLayout, check_label, first_and_rest};
use super::quoting::unquoted_line;
use super::records::{Cut, Record, Records};
use super::skipped::{Reason, SkippedRow};
use super::text::{append, meaningful, texts};
use super::value::Value;
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
/// Immediately if the format is contradictory: no text column or a repeated one, a column by name without a header, or
/// labels required of a format without labels. Row by row if reading fails, a quote is not closed, or the header lacks
/// a column.
pub fn articles<R: BufRead>(
    reader: R,
    name: &str,
    format: &Format,
    labels: LabelRule,
) -> Result<Articles<R>, DataError> {
    let (cut, places) = places(format, name)?;
    let is_labelled = match &places {
        Places::Header(layout) => layout.label.is_some(),
        Places::Columns(columns) => columns.label.is_some(),
        Places::Keys { fields, .. } => fields.has_label(),
    };
    if labels.needs_column() && !is_labelled {
        return Err(DataError::NoLabelColumn { file: name.to_owned() });
    }
    let undecided_layout = match format {
        Format::Csv(layout) => layout.undecided().map(|delimiter| (layout, delimiter)),
        _ => None,
    };
    let (records, unquoted) = match undecided_layout {
        Some((layout, delimiter)) => undecided(reader, name, layout, delimiter)?,
        None => (Records::new(reader, name, cut), None),
    };
    Ok(Articles { records, record: Record::default(), places, labels, state: State::Reading, unquoted })
}

/// Returns the rule that splits a stream of this format into records, and the parts of a record.
fn places(format: &Format, name: &str) -> Result<(Cut, Places), DataError> {
    let keys = |parts: Parts| Places::Keys { wanted: Wanted::new(parts.paths), fields: parts.fields };
    Ok(match format {
        Format::Lines => (Cut::Line, Places::Columns(Columns::default())),
        Format::MindNews { fields } => (Cut::TABS, Places::Columns(Columns::mind(fields, name)?)),
        Format::JsonLines(layout) => (Cut::FilledLine, keys(Parts::of(layout, IdRule::Optional, name)?)),
        Format::BeirCorpus { fields } => {
            let key = |field: &Field| match field {
                Field::Title => "title",
                Field::Abstract => "text",
            };
            let keys_of_text: Vec<&'static str> = fields.iter().map(key).collect();
            (Cut::FilledLine, keys(Parts::of(&beir(&keys_of_text), IdRule::Required, name)?))
        }
        Format::BeirQueries => (Cut::FilledLine, keys(Parts::of(&beir(&["text"]), IdRule::Required, name)?)),
        Format::Csv(layout) => {
            check_layout(layout, name)?;
            let places = match layout.header {
                Header::Absent => Places::Columns(Columns::numbered(layout, name)?),
                Header::Present => Places::Header(layout.clone()),
            };
            (layout.cut(), places)
        }
        Format::Parquet(_) => {
            let problem = "cannot read Parquet from a stream, expected a file";
            return Err(DataError::Unsuitable { file: name.to_owned(), problem });
        }
    })
}

/// Returns the layout of BEIR's JSON lines.
fn beir(text: &[&'static str]) -> KeyLayout {
    KeyLayout {
        label: None,
        text: text.iter().map(|key| KeyPath::fixed(key)).collect(),
        id: Some(KeyPath::fixed("_id")),
    }
}

/// Reads a stream whose content decides the meaning of its quotes into memory, and returns its records.
fn undecided<R: BufRead>(
    mut reader: R,
    name: &str,
    layout: &CsvLayout,
    delimiter: u8,
) -> Result<(Records<R>, Option<u64>), DataError> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map_err(|source| {
        let line = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        DataError::Read { file: name.to_owned(), line, source }
    })?;
    let unquoted = unquoted_line(text.as_slice(), name, delimiter)?;
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

    /// Returns the number of lines read so far.
    pub(super) fn lines(&self) -> u64 {
        self.records.lines()
    }

    fn read(&mut self) -> Result<Option<Row>, DataError> {
        if let Places::Header(layout) = &self.places {
            if !self.records.read(&mut self.record)? {
                return Ok(None);
            }
            self.places = Places::Columns(Columns::named(layout, &self.record, self.records.name())?);
        }
        if !self.records.read(&mut self.record)? {
            return Ok(None);
        }
        let line = self.record.line;
        let article = match &mut self.places {
            Places::Columns(columns) => article(&self.record, columns, self.labels),
            Places::Keys { wanted, fields } => object(&self.record, wanted, fields, self.labels),
            Places::Header(_) => unreachable!("the header has just been read"),
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
    let value = |place| Ok(field(Some(place))?.map_or(Value::Missing, |text| Value::Text(text.into())));
    let RowLabels { first: label, more: more_labels } = match &columns.label {
        // The common case, without the detour.
        Some(LabelPlaces::One(place)) => RowLabels { first: field(Some(*place))?.map(str::to_owned), more: Vec::new() },
        Some(places) => places.read(value)?,
        None => RowLabels::default(),
    };
    if labels == LabelRule::Required && label.is_none() {
        return Err(Reason::NoLabel);
    }
    let mut second = None;
    for &column in &columns.rest {
        append(&mut second, field(Some(column))?);
    }
    let (first, second) = texts(field(Some(columns.first))?.map(str::to_owned), second)?;
    Ok(Article { line: record.line, id: field(columns.id)?.map(str::to_owned), label, more_labels, first, second })
}

/// Makes an article from a line of JSON, or returns the reason why it cannot be used.
fn object(record: &Record, wanted: &mut Wanted, fields: &Fields, labels: LabelRule) -> Result<Article, Reason> {
    let text = std::str::from_utf8(&record.bytes).map_err(|_| Reason::InvalidUtf8)?;
    let values = wanted.read(text).map_err(|_| Reason::InvalidJson)?;
    fields.article(record.line, &values, labels)
}

/// The parts of a record that make up an article.
#[derive(Debug)]
enum Places {
    /// Columns named by the header, which has not been read yet.
    Header(CsvLayout),
    Columns(Columns),
    Keys {
        wanted: Wanted,
        fields: Fields,
    },
}

/// The columns that make up an article.
#[derive(Debug, Default)]
struct Columns {
    id: Option<usize>,
    label: Option<LabelPlaces>,
    first: usize,
    /// The columns that make up the second text.
    rest: Vec<usize>,
}

impl Columns {
    fn mind(fields: &[Field], name: &str) -> Result<Self, DataError> {
        let place = |field: &Field| match field {
            Field::Title => mind::TITLE,
            Field::Abstract => mind::ABSTRACT,
        };
        let (first, rest) = first_and_rest(fields, name)?;
        Ok(Self {
            id: Some(mind::ID),
            label: Some(LabelPlaces::One(mind::CATEGORY)),
            first: place(first),
            rest: rest.iter().map(place).collect(),
        })
    }

    /// Returns the columns of a file without a header.
    fn numbered(layout: &CsvLayout, name: &str) -> Result<Self, DataError> {
        Self::csv(layout, name, &[], |column| match column {
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
        Self::csv(layout, name, &names, |column| match column {
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
        names: &[String],
        place: impl Fn(&Column) -> Result<usize, DataError>,
    ) -> Result<Self, DataError> {
        let name_of = |column: &Column, place: usize| names.get(place).map_or_else(|| column.to_string(), Clone::clone);
        let (first, rest) = first_and_rest(&layout.text, name)?;
        Ok(Self {
            id: None,
            label: layout.label.as_ref().map(|label| label.places(&place, name_of)).transpose()?,
            first: place(first)?,
            rest: rest.iter().map(&place).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the number of columns that a row must have.
    fn needed(&self, labels: LabelRule) -> usize {
        let label = self.label.as_ref().filter(|_| labels.needs_column()).map(LabelPlaces::last);
        // The configured number may be huge; no row has that many columns.
        let texts = self.rest.iter().copied().max().unwrap_or(0).max(self.first);
        texts.max(label.unwrap_or(0)).saturating_add(1)
    }
}

/// Checks a layout as far as possible before the header is read.
fn check_layout(layout: &CsvLayout, name: &str) -> Result<(), DataError> {
    check_label(layout.label.as_ref(), name)?;
    if layout.quoting == Quoting::Csv && layout.delimiter.byte().is_none() {
        let problem = "quoting with a delimiter that is not a single ASCII character found, \
                       expected another delimiter or no quoting";
        return Err(DataError::Unsuitable { file: name.to_owned(), problem });
    }
    first_and_rest(&layout.text, name).map(|_| ())
}
