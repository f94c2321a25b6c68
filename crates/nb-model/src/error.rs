//! What can go wrong between a checkpoint folder and a model, each error naming the file or tensor.

use std::path::PathBuf;

/// Why weights in several files are refused, and the way around it.
pub(crate) const SHARDED: &str = "the weights are sharded over several files, expected one; load the model in Python and \
    save it with `save_pretrained(folder, max_shard_size=\"100GB\")`";

/// An error of loading, checking or saving a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{action} {path}")]
    Io {
        /// What was tried, e.g. `cannot read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// `config.json` is not JSON, or lacks a key, or holds a value of another type.
    #[error("{path} is not the configuration of a BERT: {found}")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// What the JSON reader met, with line and column.
        found: String,
    },
    /// A key of the configuration holds a value that no BERT of this crate can have.
    #[error("`{key}` is {found}, expected {expected}")]
    ConfigValue {
        /// The key in `config.json`.
        key: &'static str,
        /// The value that stands there.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// The weights file is not whole or not safetensors.
    #[error("{path} is not a whole safetensors file: {found}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the reader met.
        found: String,
    },
    /// Tensors are missing, unknown or of another shape than the configuration says.
    #[error("{path} does not hold the tensors that its config.json calls for:{listing}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One line per tensor, each starting with a line break.
        listing: String,
    },
    /// The weights are split into several files.
    #[error("{path}: {SHARDED}")]
    Sharded {
        /// The file that names them.
        path: PathBuf,
    },
    /// Weights are no numbers.
    #[error(
        "{path}: {found} of the {of} values of tensor {tensor} are NaN or infinite, expected finite numbers; the file is \
         damaged or its training diverged, so take another copy or an earlier checkpoint"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
        /// Its values that are NaN or infinite.
        found: usize,
        /// All its values.
        of: usize,
    },
    /// A configuration file holds such a value.
    #[error("{path}: {value}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with which value; part of the message, so not a source besides.
        value: Box<ModelError>,
    },
    /// A name on the hub could not be fetched.
    #[error("{0}")]
    Hub(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl ModelError {
    /// An input or output error at `path`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
