//! A file of a tokenizer, and the error of one that makes no sense.

use std::path::PathBuf;

use crate::error::DataError;

/// The file with the vocabulary and all rules.
pub(super) const TOKENIZER_FILE: &str = "tokenizer.json";

/// A file of a tokenizer, as it belongs beside a saved model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFile {
    /// `tokenizer.json`, `tokenizer_config.json` or `vocab.txt`.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Where an unreadable or senseless file is.
pub(super) fn wrong(path: PathBuf) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> DataError {
    |source| DataError::Tokenizer { path, source }
}
