//! Files of articles, read as a stream or at once.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

use super::article::{Article, Row};
use super::format::{Format, LabelRule};
use super::quoting;
use super::rows::{Articles, articles};
use super::skipped::Skipped;
use crate::error::DataError;
use crate::{IdIndex, Repeated};

/// A file of articles and the way to read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The format of its rows.
    pub format: Format,
    /// The rule for rows without a label.
    pub labels: LabelRule,
    /// The largest share of unusable rows, from 0 to 1, that is not an error.
    pub allowed_unusable: f64,
}

impl Source {
    /// The default for the allowed share of unusable rows: one in ten.
    pub const ALLOWED_UNUSABLE: f64 = 0.1;

    /// Returns a source whose rows need labels, with the default share of unusable rows.
    #[must_use]
    pub fn labelled(path: impl Into<PathBuf>, format: Format) -> Self {
        Self { path: path.into(), format, labels: LabelRule::Required, allowed_unusable: Self::ALLOWED_UNUSABLE }
    }

    /// Returns a warning for the log if rows of this source repeat an id, so that only one of them counts.
    #[must_use]
    pub fn repeated_ids(&self, ids: &IdIndex) -> Option<String> {
        let used = match self.format.repeated() {
            Repeated::First => "the first",
            Repeated::Last => "the last",
        };
        let (path, count) = (self.path.display(), ids.repeated());
        (count > 0).then(|| format!("{path}: {count} rows repeat an id; only {used} row with each id is used"))
    }

    /// Opens the file as a stream of rows. A file whose content decides the meaning of its quotes
    /// ([`Quoting::Auto`](super::Quoting::Auto)) is read twice, or held in memory if that is impossible, as with a
    /// pipe.
    ///
    /// # Errors
    /// [`DataError::Open`] if the file cannot be opened, and the errors of [`articles`].
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

    /// Returns the line on which a file with [`Quoting::Auto`](super::Quoting::Auto) shows that it was written without
    /// quoting; `None` if no line does, and in other formats. Reads the complete file.
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

    /// Returns the same source with [`Quoting::Auto`](super::Quoting::Auto) resolved for this file.
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

    /// Checks the share of skipped rows in a file with `usable` usable rows.
    pub(crate) fn check(&self, usable: u64, skipped: &Skipped) -> Result<(), DataError> {
        skipped.check(&self.path, usable, self.allowed_unusable)
    }
}

/// Opens a file for reading.
pub(crate) fn open_file(path: &Path) -> Result<File, DataError> {
    let failed = |source| DataError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // A folder opens without an error and fails only at the first read, whose error would name a line.
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
    /// The rows that were skipped.
    pub skipped: Skipped,
}

/// Reads a complete file.
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
