//! Files of articles, read as a stream or at once.

use std::path::PathBuf;

use super::article::{Article, Row};
use super::encoding::Encoding;
use super::format::{Format, LabelRule};
use super::input::Input;
use super::quoting;
use super::skipped::Skipped;
use super::source_rows::{Reading, SourceRows};
use crate::error::DataError;
use crate::{IdIndex, Repeated};

/// A file of articles, or several files that belong together, and the way to read them.
///
/// A file whose name ends in `.gz` or `.zst` is decompressed.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file. If there are `parts`, the name of the data set in messages, such as its folder.
    pub path: PathBuf,
    /// The files of the data set, in their order; empty if `path` is its only file. Rows are numbered through all files,
    /// but an error names the file and its own line.
    pub parts: Vec<PathBuf>,
    /// The format of the rows.
    pub format: Format,
    /// The encoding of the text; `None` for UTF-8, or UTF-16 if a file begins with its byte-order mark. Parquet has no
    /// encoding.
    pub encoding: Option<Encoding>,
    /// Translated titles and abstracts ([`Format::MindNews`] only), as xMIND has them: tab-separated ids, titles and
    /// abstracts, with or without a header, in the same encoding. Articles without a translation keep their text, and
    /// those of which only one text is translated keep the other. The allowed share of unusable rows applies to this
    /// file too.
    pub translations: Option<PathBuf>,
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
        Self {
            path: path.into(),
            parts: Vec::new(),
            format,
            encoding: None,
            translations: None,
            labels: LabelRule::Required,
            allowed_unusable: Self::ALLOWED_UNUSABLE,
        }
    }

    /// Returns the files, in their order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        if self.parts.is_empty() { std::slice::from_ref(&self.path) } else { &self.parts }
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

    /// Opens the files as a stream of rows. Files whose content decides the meaning of their quotes
    /// ([`Quoting::Auto`](super::Quoting::Auto)) are read twice, or held in memory if that is impossible, as with a
    /// pipe.
    ///
    /// # Errors
    /// [`DataError::Open`] if the first file cannot be opened, and the errors of [`articles`](super::articles).
    pub fn open(&self) -> Result<SourceRows, DataError> {
        let is_file = self.files().iter().all(|path| path.is_file());
        let unquoted = if is_file { self.unquoted_line()? } else { None };
        let format = if is_file { self.format.decided(unquoted) } else { self.format.clone() };
        let translations = self.translations.clone();
        let Self { encoding, labels, allowed_unusable, .. } = *self;
        let reading = Reading { format, encoding, translations, labels, allowed_unusable };
        SourceRows::open(self.files().to_vec(), reading, unquoted)
    }

    /// Returns the line on which a file with [`Quoting::Auto`](super::Quoting::Auto) shows that it was written without
    /// quoting; `None` if no line does, and in other formats. Reads the complete files.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn unquoted_line(&self) -> Result<Option<u64>, DataError> {
        let Format::Csv(layout) = &self.format else { return Ok(None) };
        let Some(delimiter) = layout.undecided() else { return Ok(None) };
        for path in self.files() {
            let input = Input::open(path, self.encoding)?;
            if let Some(line) = quoting::unquoted_line(input, &path.display().to_string(), delimiter)? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Returns the same source with [`Quoting::Auto`](super::Quoting::Auto) resolved for this file.
    ///
    /// ```
    /// use nb_data::read::{CsvLayout, Column, Delimiter, Format, Header, Quoting, Source, read};
    /// let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// std::fs::write(&path, "sports\t\"We never gave up\nworld\tScreens of 27\"\n")?;
    /// let layout = CsvLayout {
    ///     label: Some(Column::Number(0).into()),
    ///     text: vec![Column::Number(1)],
    ///     header: Header::Absent,
    ///     delimiter: Delimiter::TAB,
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

    /// Checks the share of skipped rows in a file with `usable` usable rows.
    pub(crate) fn check(&self, usable: u64, skipped: &Skipped) -> Result<(), DataError> {
        skipped.check(&self.path, usable, self.allowed_unusable)
    }
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
