//! Reads JSON files of a sentence-transformers folder.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::CheckpointError;

/// The features entry that holds the vector of a text.
const VECTOR: &str = "sentence_embedding";

/// Reads a JSON file; `None` if it does not exist.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, CheckpointError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CheckpointError::io("cannot read", path)(error)),
        Ok(text) => match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(source) => Err(CheckpointError::Json { path: path.to_owned(), source }),
        },
    }
}

/// Reads the configuration of a module that needs one.
pub(super) fn read_config(path: &Path) -> Result<Map<String, Value>, CheckpointError> {
    let config = read_json(path)?;
    config.ok_or_else(|| CheckpointError::io("cannot read", path)(ErrorKind::NotFound.into()))
}

/// Refuses a module that reads or writes something other than the vector of a text. Older versions write no names.
pub(super) fn check_names(path: &Path, config: &Map<String, Value>) -> Result<(), CheckpointError> {
    for key in ["module_input_name", "module_output_name"] {
        match config.get(key) {
            None | Some(Value::Null) => {}
            Some(name) if name == VECTOR => {}
            Some(other) => return Err(wrong_value(path, key, other, &format!("`{VECTOR}`"))),
        }
    }
    Ok(())
}

/// Returns the error for a key with another value than a module may have.
pub(super) fn wrong_value(path: &Path, key: &str, found: impl Display, expected: &str) -> CheckpointError {
    CheckpointError::Module { path: path.to_owned(), found: format!("`{key}`: {found}, expected {expected}") }
}
