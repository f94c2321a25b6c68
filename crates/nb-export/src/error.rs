//! Errors in exporting a model.

use std::path::PathBuf;

use nb_checkpoint::CheckpointError;

/// An error in exporting a model. Print its [`source`](std::error::Error::source) too, if it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file of the model folder cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
