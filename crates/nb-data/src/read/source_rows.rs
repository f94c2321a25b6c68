//! The rows of a source: those of its files, one after the other.

use std::path::{Path, PathBuf};

use super::article::Row;
use super::encoding::Encoding;
use super::format::{Format, LabelRule};
use super::input::Input;
use super::rows::{Articles, articles};
use super::skipped::Skipped;
use super::translations::Translations;
use crate::error::DataError;
#[cfg(feature = "parquet")]
use crate::parquet::ParquetRows;

/// The way to read the files of a source.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) format: Format,
    pub(super) encoding: Option<Encoding>,
    pub(super) translations: Option<PathBuf>,
    pub(super) labels: LabelRule,
    pub(super) allowed_unusable: f64,
}

impl Reading {
    fn translations(&self, path: &Path) -> Result<Translations, DataError> {
        if !matches!(self.format, Format::MindNews { .. }) {
            let problem = "translations of articles in another format than MIND's found, expected MIND's articles";
            return Err(DataError::Unsuitable { file: path.display().to_string(), problem });
        }
        let translations = Translations::read(path, self.encoding)?;
        translations.skipped.check(path, translations.len(), self.allowed_unusable)?;
        Ok(translations)
    }
}

/// An iterator over the rows of a [`Source`](super::Source); see [`Source::open`](super::Source::open). It ends after an
/// error.
#[derive(Debug)]
pub struct SourceRows {
    reading: Reading,
    /// The files after the current one.
    rest: std::vec::IntoIter<PathBuf>,
    /// The current file; `None` after the last, and after an error.
    current: Option<FileRows>,
    /// Number of lines in the files before the current one.
    before: u64,
    translations: Option<Translations>,
    untranslated: u64,
    unquoted: Option<u64>,
}

/// The rows of a file.
#[derive(Debug)]
enum FileRows {
    Text(Box<Articles<Input>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetRows>),
}

impl FileRows {
    fn open(path: &Path, reading: &Reading) -> Result<Self, DataError> {
        let name = path.display().to_string();
        match &reading.format {
            #[cfg(feature = "parquet")]
            Format::Parquet(layout) => Ok(Self::Parquet(Box::new(ParquetRows::open(path, layout, reading.labels)?))),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet(_) => Err(DataError::no_parquet(name)),
            format => {
                let rows = articles(Input::open(path, reading.encoding)?, &name, format, reading.labels)?;
                Ok(Self::Text(Box::new(rows)))
            }
        }
    }

    fn next(&mut self) -> Option<Result<Row, DataError>> {
        match self {
            Self::Text(rows) => rows.next(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.next(),
        }
    }

    /// Returns the number of lines read.
    fn lines(&self) -> u64 {
        match self {
            Self::Text(rows) => rows.lines(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.lines(),
        }
    }
}

impl SourceRows {
    /// Opens the files, of which `unquoted` is the line that shows that they were written without quoting.
    pub(super) fn open(files: Vec<PathBuf>, reading: Reading, unquoted: Option<u64>) -> Result<Self, DataError> {
        let mut rest = files.into_iter();
        let current = rest.next().map(|path| FileRows::open(&path, &reading)).transpose()?;
        let translations = reading.translations.as_deref().map(|path| reading.translations(path)).transpose()?;
        Ok(Self { reading, rest, current, before: 0, translations, untranslated: 0, unquoted })
    }

    /// Returns the line on which a file with [`Quoting::Auto`](super::Quoting::Auto) shows that it was written without
    /// quoting, if one does. The source is then read without quoting.
    #[must_use]
    pub fn unquoted_line(&self) -> Option<u64> {
        let in_stream = match &self.current {
            Some(FileRows::Text(rows)) => rows.unquoted_line(),
            _ => None,
        };
        self.unquoted.or(in_stream)
    }

    /// Returns the number of articles so far that have no translation, if the source has translations.
    #[must_use]
    pub fn untranslated(&self) -> u64 {
        self.untranslated
    }

    /// Returns the rows of the file of translations that cannot be used, if the source has translations.
    #[must_use]
    pub fn skipped_translations(&self) -> Option<&Skipped> {
        self.translations.as_ref().map(|translations| &translations.skipped)
    }

    /// Moves on to the next file; false after the last.
    fn next_file(&mut self) -> Result<bool, DataError> {
        self.before += self.current.take().map_or(0, |file| file.lines());
        self.current = self.rest.next().map(|path| FileRows::open(&path, &self.reading)).transpose()?;
        Ok(self.current.is_some())
    }

    /// Numbers a row through all files, and translates it.
    fn finished(&mut self, mut row: Row) -> Row {
        match &mut row {
            Row::Article(article) => {
                article.line += self.before;
                if let (Some(translations), Format::MindNews { fields }) = (&self.translations, &self.reading.format) {
                    self.untranslated += u64::from(!translations.apply(article, fields));
                }
            }
            Row::Skipped(skipped) => skipped.line += self.before,
        }
        row
    }
}

impl Iterator for SourceRows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.as_mut()?.next() {
                Some(Ok(row)) => return Some(Ok(self.finished(row))),
                Some(Err(error)) => {
                    self.current = None;
                    return Some(Err(error));
                }
                None => match self.next_file() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}
