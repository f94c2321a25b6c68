//! Errors in ranking and measuring.

use std::path::PathBuf;

/// An error in ranking or measuring. Print its [`source`](std::error::Error::source) too, if it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RankError {
    /// A score is NaN: an entry of a vector is NaN or infinite.
    #[error("the model's outputs are NaN or infinite: its training diverged")]
    NotFinite,
    /// There is nothing from which a metric could be computed.
    #[error("none of {found} {expected}, expected at least one")]
    NothingToMeasure {
        /// The number of rows.
        found: usize,
        /// The rows, and what they lack, such as `queries has a relevant document in the corpus`.
        expected: &'static str,
    },
    /// An impression has candidates without a label.
    #[error(
        "the impression on line {line} has candidates without -0 or -1, expected labels as in MIND's train and dev \
         folders; use `nb rank` for impressions without labels"
    )]
    NoLabels {
        /// The line of the file.
        line: u64,
    },
    /// A metric cannot be computed.
    #[error(transparent)]
    Metric(#[from] nb_eval::Error),
    /// A file of vectors cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The path of a file of vectors is a folder.
    #[error("cannot write {}: it is a folder", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// The header of a file of vectors cannot be written.
    #[error(transparent)]
    Header(#[from] nb_checkpoint::CheckpointError),
    /// A file of vectors cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
