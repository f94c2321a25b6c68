//! Files of a tokenizer, and the error for an invalid one.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::{DataError, TokenizerError};

/// The name of the file with the vocabulary and all rules.
pub(super) const TOKENIZER_FILE: &str = "tokenizer.json";

/// A file of a tokenizer, to be saved with a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFile {
    /// `tokenizer.json`, `tokenizer_config.json` or `vocab.txt`.
    pub name: &'static str,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Returns a function that makes the error for an invalid file.
pub(super) fn wrong(path: PathBuf) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> DataError {
    |source| TokenizerError::Damaged { path, source }.into()
}

/// Reads a file; `None` if it does not exist.
///
/// # Errors
/// [`DataError::Open`] if it exists but cannot be read.
pub(super) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Open { path: path.to_owned(), source }),
    }
}
