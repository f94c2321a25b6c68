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

mod format;
mod json;
mod quoting;
pub(crate) mod records;
mod rows;
mod skipped;

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

pub use format::{Column, CsvLayout, Field, Format, Header, LabelRule, Quoting};
pub use rows::{Articles, articles};
pub use skipped::{Reason, Skipped, SkippedRow};

use crate::error::DataError;
use crate::random::{Stream, mix};

/// A news article as a file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The line on which its row begins, counted from 1.
    pub line: u64,
    /// MIND's news id, BEIR's `_id`; none in other formats.
    pub id: Option<String>,
    /// Its topic.
    pub label: Option<String>,
    /// The first text, usually the title; never empty.
    pub first: String,
    /// The second text, usually the abstract; never empty where it is there.
    pub second: Option<String>,
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// One that can be used.
    Article(Article),
    /// One that cannot.
    Skipped(SkippedRow),
}

/// A file of articles and how it is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// How its rows are laid out.
    pub format: Format,
    /// Whether a row without a label can be used.
    pub labels: LabelRule,
    /// The share of rows, from 0 to 1, that may be unusable; more is an error.
    pub allowed_unusable: f64,
}

impl Source {
    /// The share of unusable rows that is allowed unless said otherwise: one in ten.
    pub const ALLOWED_UNUSABLE: f64 = 0.1;

    /// A source whose rows need labels and of which one row in ten may be unusable.
    #[must_use]
    pub fn labelled(path: impl Into<PathBuf>, format: Format) -> Self {
        Self { path: path.into(), format, labels: LabelRule::Required, allowed_unusable: Self::ALLOWED_UNUSABLE }
    }

    /// Opens the file as a stream of rows. Where the file decides what its quotes mean ([`Quoting::Auto`]) it is read
    /// twice; what cannot be, such as a pipe, is held in memory.
    ///
    /// # Errors
    /// [`DataError::Open`] if that fails, and what [`articles`] returns.
    pub fn open(&self) -> Result<Articles<BufReader<File>>, DataError> {
        let (mut reader, name) = (self.reader()?, self.path.display().to_string());
        let is_file = reader.get_ref().metadata().is_ok_and(|it| it.is_file());
        match &self.format {
            Format::Csv(layout) if layout.is_undecided() && is_file => {
                let unquoted = quoting::unquoted_line(&mut reader, &name, layout.delimiter)?;
                reader.rewind().map_err(|source| DataError::Open { path: self.path.clone(), source })?;
                let rows = articles(reader, &name, &self.format.decided(unquoted), self.labels)?;
                Ok(rows.found_unquoted(unquoted))
            }
            format => articles(reader, &name, format, self.labels),
        }
    }

    /// The line on which the file shows that it was written without quoting, where that is for the file to say
    /// ([`Quoting::Auto`]); none where nothing does, and in other formats. Reads the whole file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unquoted_line(&self) -> Result<Option<u64>, DataError> {
        match &self.format {
            Format::Csv(layout) if layout.is_undecided() => {
                quoting::unquoted_line(self.reader()?, &self.path.display().to_string(), layout.delimiter)
            }
            _ => Ok(None),
        }
    }

    /// The same source, with [`Quoting::Auto`] replaced by what it means for the file.
    ///
    /// ```
    /// use nb_data::read::{CsvLayout, Column, Format, Header, Quoting, Source, read};
    /// let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// std::fs::write(&path, "sports\t\"We never gave up\nworld\tScreens of 27\"\n")?;
    /// let layout = CsvLayout {
    ///     label: Some(Column::Number(0)),
    ///     text: vec![Column::Number(1)],
    ///     header: Header::Absent,
    ///     delimiter: b'\t',
    ///     quoting: Quoting::Auto,
    /// };
    /// let source = Source::labelled(path.to_path_buf(), Format::Csv(layout.clone()));
    /// assert_eq!(source.unquoted_line()?, Some(1));
    /// assert_eq!(source.decided()?.format, Format::Csv(CsvLayout { quoting: Quoting::None, ..layout }));
    /// assert_eq!(read(&source)?.articles[0].first, "\"We never gave up");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn decided(&self) -> Result<Self, DataError> {
        Ok(self.decided_by(self.unquoted_line()?))
    }

    pub(crate) fn decided_by(&self, unquoted: Option<u64>) -> Self {
        Self { format: self.format.decided(unquoted), ..self.clone() }
    }

    fn reader(&self) -> Result<BufReader<File>, DataError> {
        Ok(BufReader::with_capacity(1 << 16, open_file(&self.path)?))
    }

    /// Checks the share of skipped rows beside `usable` ones.
    pub(crate) fn check(&self, usable: u64, skipped: &Skipped) -> Result<(), DataError> {
        skipped.check(&self.path, usable, self.allowed_unusable)
    }
}

/// Opens a file to be read.
pub(crate) fn open_file(path: &Path) -> Result<File, DataError> {
    let failed = |source| DataError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // A folder opens without complaint and fails at the first read only, which would name a line.
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

/// All usable articles of a file, in its order.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// The file.
    pub source: PathBuf,
    /// Its articles; at least one.
    pub articles: Vec<Article>,
    /// What was left out.
    pub skipped: Skipped,
}

/// Reads a whole file.
///
/// ```
/// use nb_data::read::{Field, Format, Source, read};
/// let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// std::fs::write(&path, "N1\tsports\tgolf\tA birdie at last\tIt took three years.\nN2\tweather\n")?;
/// let mut source = Source::labelled(path.to_path_buf(), Format::MindNews { fields: vec![Field::Title, Field::Abstract] });
/// source.allowed_unusable = 0.5;
/// let corpus = read(&source)?;
/// assert_eq!(corpus.articles[0].label.as_deref(), Some("sports"));
/// assert_eq!(corpus.skipped.to_string(), "1 with too few columns, first on line 2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the file cannot be read, does not fit its format, or has no usable row or too many unusable ones.
pub fn read(source: &Source) -> Result<Corpus, DataError> {
    let mut corpus = Corpus { source: source.path.clone(), articles: Vec::new(), skipped: Skipped::default() };
    for row in source.open()? {
        match row? {
            Row::Article(article) => corpus.articles.push(article),
            Row::Skipped(row) => corpus.skipped.add(row),
        }
    }
    source.check(corpus.articles.len() as u64, &corpus.skipped)?;
    Ok(corpus)
}

/// Splits rows 0 to `n - 1` by chance into training and development rows, each in ascending order.
///
/// Of `n` rows, `dev_fraction · n` (rounded to the nearest, but at least one and not all where there are two or more)
/// go into development. The same `n`, fraction and seed give the same split for ever.
///
/// ```
/// let (train, dev) = nb_data::read::split(10, 0.2, 0);
/// assert_eq!((train.len(), dev.len()), (8, 2));
/// ```
///
/// # Panics
/// If `dev_fraction` does not lie between 0 and 1 or `n` exceeds 2^32.
#[must_use]
pub fn split(n: usize, dev_fraction: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    assert!((0.0..=1.0).contains(&dev_fraction), "a fraction of {dev_fraction} does not lie between 0 and 1");
    let mut rows = crate::batch::all_rows(n);
    Stream::new(mix(&[seed, SPLIT])).shuffle(&mut rows);
    let wanted = (dev_fraction * n as f64).round() as usize;
    let mut train = rows.split_off(wanted.clamp(n.min(2) / 2, n.saturating_sub(1)));
    let mut dev = rows;
    train.sort_unstable();
    dev.sort_unstable();
    (train, dev)
}

/// Keeps the randomness of a split apart from that of other uses of the same seed.
const SPLIT: u64 = 0x73_70_6C_69_74; // "split"

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_takes_each_row_once_and_is_pinned() {
        let (train, dev) = split(10, 0.3, 0);
        assert_eq!(dev, [3, 8, 9]);
        let mut all = [train, dev].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u32>>());
        assert_ne!(split(100, 0.3, 0).1, split(100, 0.3, 1).1);
    }

    #[test]
    fn a_split_leaves_neither_side_empty() {
        for (n, fraction, sizes) in
            [(2, 0.01, (1, 1)), (2, 1.0, (1, 1)), (1, 0.9, (1, 0)), (0, 0.5, (0, 0)), (5, 0.5, (2, 3))]
        {
            let (train, dev) = split(n, fraction, 0);
            assert_eq!((train.len(), dev.len()), sizes, "{n} rows, {fraction}");
        }
    }
}
