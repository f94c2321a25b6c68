//! Errors of reading run folders and writing reports.

use std::path::{Path, PathBuf};

/// An error of this crate. An error about a file names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file is malformed.
    #[error("{}{}: {found}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, if the file has lines.
        line: Option<usize>,
        /// The contents found and expected.
        found: String,
    },
    /// A plot cannot be drawn.
    #[error("cannot draw a plot: {0}")]
    Drawing(String),
}

impl ReportError {
    /// Returns an error of reading or writing `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Returns an error about the contents of `path`.
    pub(crate) fn content(path: &Path, line: Option<usize>, found: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), line, found: found.into() }
    }
}
