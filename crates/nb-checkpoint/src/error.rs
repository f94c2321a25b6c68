//! Errors in reading and writing model folders. Each names the file, key or tensor.

use std::path::{Path, PathBuf};

/// An error in reading, checking, downloading or writing a model folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read or written.
    #[error("{action} {path}")]
    Io {
        /// The action that failed, e.g. `cannot read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// `config.json` is not JSON, lacks a key, or has a value of another type.
    #[error("{path} is not the configuration of a supported encoder: {found}")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// The message of the JSON parser, with line and column.
        found: String,
    },
    /// A key of the configuration has an unsupported value.
    #[error("`{key}` is {found}, expected {expected}")]
    ConfigValue {
        /// The key in `config.json`.
        key: &'static str,
        /// The value in the file.
        found: String,
        /// The supported values.
        expected: String,
    },
    /// The weights file is damaged or not safetensors.
    #[error("{path} is not a complete safetensors file: {found}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        found: String,
    },
    /// Tensors are missing, unknown or differ in shape from the configuration.
    #[error("the tensors of {path} do not match its config.json:{listing}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One line per tensor, each starting with a line break.
        listing: String,
    },
    /// The file of `torch.save` is damaged, of another format, or contains more than tensors.
    #[error("{path} is not a state dict of PyTorch: {found}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The part that cannot be read.
        found: String,
    },
    /// The index of weights in several files is not JSON, or does not fit these files.
    #[error("{path} is not the index of a complete model: {found}")]
    Index {
        /// The index.
        path: PathBuf,
        /// The difference, with the name of the tensor or file.
        found: String,
    },
    /// Weights are NaN or infinite.
    #[error(
        "{path}: {found} of the {total} values of tensor {tensor} are NaN or infinite, expected finite numbers; the file is \
         damaged or its training diverged, so take another copy or an earlier checkpoint"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first tensor with such a value.
        tensor: String,
        /// The number of its values that are NaN or infinite.
        found: usize,
        /// The total number of its values.
        total: usize,
    },
    /// A tensor is missing, unknown, or of another shape or type.
    #[error("{path}: tensor {name} {found}, expected {expected}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The difference, such as `is missing`.
        found: String,
        /// The name, shape or type that the model needs.
        expected: String,
    },
    /// A configuration file has an unsupported value.
    #[error("{path}: {value}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The error about the value. It is part of the message and therefore not a source.
        value: Box<CheckpointError>,
    },
    /// `newsbert.json` is not JSON, lacks a key, or has a value of another type.
    #[error("{path}")]
    Description {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A file of a sentence-transformers folder is not JSON, lacks a key, or has a value of another type.
    #[error("{path}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A sentence-transformers folder has a module that this project does not compute.
    #[error("{path}: found {found}")]
    Module {
        /// The file.
        path: PathBuf,
        /// The unsupported module or mode, and the supported ones.
        found: String,
    },
    /// The name of a repository on the hub is invalid, or its files could not be fetched.
    #[error("{0}")]
    Hub(String),
}

impl CheckpointError {
    /// Returns a function that adds `path` to an error of the operating system.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
    /// Returns a function that adds `path` to an error of the safetensors parser.
    pub(crate) fn weights(path: &Path) -> impl Fn(safetensors::SafeTensorError) -> Self + '_ {
        move |error| Self::Weights { path: path.into(), found: error.to_string() }
    }
}
