//! The files in a tokenizer's folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{TOKENIZER_FILE, read_if_present, wrong};
use super::side::Side;
use super::vocabulary::{Form, Vocabulary};
use crate::error::DataError;

/// A file with a JSON object; the object is empty if the file is missing.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) path: PathBuf,
    pub(super) value: Map<String, Value>,
}

/// The small files of a folder, which determine the class and its settings.
#[derive(Debug)]
pub(super) struct Settings {
    folder: PathBuf,
    /// `tokenizer_config.json`.
    pub(super) config: Object,
    /// `special_tokens_map.json`, written by older versions of `transformers`.
    pub(super) special_tokens: Object,
    /// `added_tokens.json`, also from older versions: ids by token.
    pub(super) added_tokens: Object,
    /// `config.json`, for the model type and a tokenizer class.
    pub(super) model: Object,
}

/// All files of a folder that determine the tokens of a text.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) settings: Settings,
    pub(super) vocabulary: Vocabulary,
}

impl Object {
    /// Returns the value of a switch; `None` if the key is missing.
    ///
    /// # Errors
    /// If it is neither true nor false.
    pub(super) fn switch(&self, key: &str) -> Result<Option<bool>, DataError> {
        match self.value.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong(self.path.clone())(format!("{key} is {other}, expected true or false").into())),
        }
    }
}

impl Settings {
    /// Reads the small files of a folder.
    ///
    /// # Errors
    /// If a file cannot be read or is not a JSON object.
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        Ok(Self {
            folder: folder.to_owned(),
            config: object(folder.join("tokenizer_config.json"))?,
            special_tokens: object(folder.join("special_tokens_map.json"))?,
            added_tokens: object(folder.join("added_tokens.json"))?,
            model: object(folder.join("config.json"))?,
        })
    }

    /// Returns true if the folder contains a `tokenizer.json`.
    pub(super) fn has_tokenizer_file(&self) -> bool {
        self.folder.join(TOKENIZER_FILE).is_file()
    }

    /// Reads the vocabulary too.
    ///
    /// # Errors
    /// If there is none in a form that the class reads, or if it is invalid.
    pub(super) fn with_vocabulary(self, form: Form) -> Result<Folder, DataError> {
        Ok(Folder { vocabulary: Vocabulary::read(&self.folder, form)?, settings: self })
    }

    /// Returns `model_max_length`, or `max_len` (its old name), if the value is a length.
    pub(super) fn max_length(&self) -> Option<usize> {
        let length =
            self.config.value.get("model_max_length").or_else(|| self.config.value.get("max_len"))?.as_f64()?;
        (length >= 1.0).then_some(length as usize)
    }
}

impl Folder {
    /// Returns the end at which texts are truncated: `truncation_side`, else the truncation direction of
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// If `truncation_side` is neither `left` nor `right`.
    pub(super) fn truncation_side(&self) -> Result<Side, DataError> {
        let config = &self.settings.config;
        let saved = match &self.vocabulary {
            Vocabulary::Json { value, .. } => value["truncation"]["direction"].as_str(),
            _ => None,
        };
        match config.value.get("truncation_side") {
            None if saved == Some("Left") => Ok(Side::Left),
            None => Ok(Side::Right),
            Some(side) if side == "left" => Ok(Side::Left),
            Some(side) if side == "right" => Ok(Side::Right),
            Some(other) => {
                let found = format!("truncation_side is {other}, expected \"left\" or \"right\"");
                Err(wrong(config.path.clone())(found.into()))
            }
        }
    }
}

fn object(path: PathBuf) -> Result<Object, DataError> {
    let value = match read_if_present(&path)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|err| wrong(path.clone())(err.into()))?,
        None => Map::new(),
    };
    Ok(Object { path, value })
}
