//! Errors in opening and using a model.

use std::path::PathBuf;

use nb_checkpoint::CheckpointError;
use nb_data::DataError;

/// An error in opening or using a model. Print its [`source`](std::error::Error::source) too, if it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A file of the model folder cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer cannot be used, or a text cannot be tokenised.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The path is not a folder.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A configuration file of the folder has a value that the model cannot have.
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
    /// The tokenizer has more tokens than the model.
    #[error("{path}: the tokenizer has ids up to {largest}, but the model's embedding has {rows} rows")]
    Vocabulary {
        /// The model folder.
        path: PathBuf,
        /// The tokenizer's largest id.
        largest: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// An option does not fit the model.
    #[error("{option} is {found}, expected {least} to {most}")]
    Option {
        /// The field of [`Options`](crate::Options).
        option: &'static str,
        /// Its value.
        found: usize,
        /// The smallest possible value.
        least: usize,
        /// The largest possible value.
        most: usize,
    },
    /// The model does not classify.
    #[error("{path} has no labels: {reason}")]
    NoLabels {
        /// The model folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The model has no thresholds, because it was trained for texts with one label.
    #[error("{path} has no thresholds: it was trained for texts with one label, expected any number of labels")]
    OneLabel {
        /// The model folder.
        path: PathBuf,
    },
    /// The folder does not say how states become a vector, or not in a way that this crate computes.
    #[error("{path} does not define its vectors: it {reason}")]
    NoPooling {
        /// The model folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A pooling with parameters cannot replace the pooling of a folder.
    #[error("{path}: attentive pooling has trained parameters, expected mean or cls")]
    PoolingWithParameters {
        /// The model folder.
        path: PathBuf,
    },
    /// The model does not recommend.
    #[error("{path} has no reader model: {reason}")]
    NoReaders {
        /// The model folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The vector of a reader is NaN or infinite.
    #[error("{path}: the vector of reader {reader} is NaN or infinite, expected finite numbers")]
    ReaderNotFinite {
        /// The model folder.
        path: PathBuf,
        /// The index of the reader in the call.
        reader: usize,
    },
    /// An output is NaN or infinite.
    #[error("{path}: the output for text {text} is NaN or infinite, expected finite numbers")]
    NotFinite {
        /// The model folder.
        path: PathBuf,
        /// The index of the text in the call.
        text: usize,
    },
}
