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
    /// A key of a JSON file has a value that cannot be used.
    #[error("{path}: {key} is {found}, expected {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The value.
        found: String,
        /// The values that fit.
        expected: &'static str,
    },
    /// A tensor is missing or of another shape or type.
    #[error("{path}: tensor {name} {found}, expected {expected}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The state of the tensor, e.g. `is missing`.
        found: String,
        /// The shape or the type that fits.
        expected: String,
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
