//! What can go wrong while run folders are read and reports written.

use std::path::{Path, PathBuf};

/// An error of this crate; what concerns a file names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}{}: {found}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where there are lines.
        line: Option<usize>,
        /// What was found, and what was expected.
        found: String,
    },
    /// A plot cannot be drawn.
    #[error("a plot cannot be drawn: {0}")]
    Drawing(String),
}

impl ReportError {
    /// An error of reading or writing `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// `path` holds something else than expected.
    pub(crate) fn content(path: &Path, line: Option<usize>, found: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), line, found: found.into() }
    }
}
