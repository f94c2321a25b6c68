//! Errors in exporting a model.

use std::path::{Path, PathBuf};

use nb_checkpoint::CheckpointError;

/// An error in exporting a model. Print its [`source`](std::error::Error::source) too, if it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file of the model folder cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path is not a folder.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file of the folder has a value that the exported model cannot have.
    #[error("{path}: {key} is {found}, expected {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The value in the file.
        found: String,
        /// The values that are possible.
        expected: String,
    },
    /// The folder does not say how states become a vector.
    #[error("{path} has neither newsbert.json nor modules.json, which define its vectors")]
    NoPooling {
        /// The model folder.
        path: PathBuf,
    },
    /// The model has no reader model.
    #[error("{path} has no reader model: {reason}")]
    NoReader {
        /// The model folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The calibration does not fit the model.
    #[error("calibration: {name} is {found}, expected {expected}")]
    Calibration {
        /// The layer and its input, or `layers`.
        name: String,
        /// The value.
        found: String,
        /// The values that are possible.
        expected: String,
    },
    /// The file would be larger than the format permits.
    #[error("{path} would have {bytes} bytes, expected at most {most}, the limit of the format")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
        /// The largest size.
        most: usize,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The folder is not the model folder of a run.
    #[error("{path} has no newsbert.json, expected the model folder of a run")]
    NotAModel {
        /// The folder.
        path: PathBuf,
    },
    /// The output is the model folder itself.
    #[error("{path} is the model folder itself, expected another folder for the export")]
    SameFolder {
        /// The output.
        path: PathBuf,
    },
    /// The output exists and is not an empty folder.
    #[error("{path} exists and is not an empty folder; remove it or name another")]
    Occupied {
        /// The output.
        path: PathBuf,
    },
    /// The model has no classes, and the form is that of a classifier.
    #[error(
        "{path} was trained for {task} and has no labels, expected a topic model; use `--to sentence-transformers` for its vectors"
    )]
    NoLabels {
        /// The model folder.
        path: PathBuf,
        /// The task of the model.
        task: String,
    },
}

impl ExportError {
    /// Returns a function that adds `path` to an error in reading it.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    /// Returns a function that adds `path` to an error in writing it.
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}
