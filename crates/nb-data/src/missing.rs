//! Files that a data set lacks.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file that a data set lacks. The message completes a sentence that begins with the path of the data set:
/// `… does not exist; expected a folder with …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// The file; `None` if there is nothing at the path of the data set itself.
    file: Option<PathBuf>,
    /// The layout of a complete data set.
    expected: String,
}

impl MissingFile {
    /// Returns the first of `files` that does not exist, of a data set at `path`.
    pub(crate) fn first<'a>(
        path: &Path,
        files: impl IntoIterator<Item = &'a PathBuf>,
        expected: impl Into<String>,
    ) -> Option<Self> {
        let missing = files.into_iter().find(|file| !file.is_file())?;
        let file = (missing != path).then(|| missing.clone());
        Some(Self { file, expected: expected.into() })
    }
}

impl fmt::Display for MissingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} does not exist", file.display())?,
            None => f.write_str("there is no such file or folder")?,
        }
        write!(f, "; expected {}", self.expected)
    }
}

impl std::error::Error for MissingFile {}
