//! The files in a tokenizer's folder.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Map, Value};

use super::file::{TOKENIZER_FILE, wrong};
use super::template::Side;
use crate::error::DataError;

/// A file with a JSON object; the object is empty if the file is missing.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) path: PathBuf,
    pub(super) value: Map<String, Value>,
}

/// All files of a folder that determine the tokens of a text.
#[derive(Debug)]
pub(super) struct Folder {
    /// `tokenizer_config.json`.
    pub(super) config: Object,
    /// `special_tokens_map.json`, written by older versions of `transformers`.
    pub(super) special_tokens: Object,
    /// `added_tokens.json`, also from older versions: ids by token.
    pub(super) added_tokens: Object,
    /// `config.json`, for the model type and a tokenizer class.
    pub(super) model: Object,
    pub(super) vocabulary: Vocabulary,
}

/// The file with the vocabulary.
#[derive(Debug)]
pub(super) enum Vocabulary {
    /// `tokenizer.json`, which is preferred.
    Json { path: PathBuf, value: Value, bytes: Vec<u8> },
    /// `vocab.txt`, one token per line.
    Lines { path: PathBuf, bytes: Vec<u8> },
}

impl Vocabulary {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Json { path, .. } | Self::Lines { path, .. } => path,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self, Self::Json { .. })
    }

    /// Returns true if a token is in the vocabulary, not counting added tokens.
    pub(super) fn contains(&self, token: &str) -> bool {
        match self {
            Self::Json { value, .. } => match &value["model"]["vocab"] {
                Value::Object(ids) => ids.contains_key(token),
                Value::Array(pieces) => pieces.iter().any(|piece| piece == token || piece[0] == token),
                _ => false,
            },
            Self::Lines { bytes, .. } => {
                bytes.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_end() == token.as_bytes())
            }
        }
    }
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

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// If there is no vocabulary, a file cannot be read, or a JSON file is invalid.
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        Ok(Self {
            config: object(folder.join("tokenizer_config.json"))?,
            special_tokens: object(folder.join("special_tokens_map.json"))?,
            added_tokens: object(folder.join("added_tokens.json"))?,
            model: object(folder.join("config.json"))?,
            vocabulary: vocabulary(folder)?,
        })
    }

    /// Returns `model_max_length`, or `max_len` (its old name), if the value is a length.
    pub(super) fn max_length(&self) -> Option<usize> {
        let length =
            self.config.value.get("model_max_length").or_else(|| self.config.value.get("max_len"))?.as_f64()?;
        (length >= 1.0).then_some(length as usize)
    }

    /// Returns the end at which texts are truncated: `truncation_side`, else the truncation direction of
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// If `truncation_side` is neither `left` nor `right`.
    pub(super) fn truncation_side(&self) -> Result<Side, DataError> {
        let saved = match &self.vocabulary {
            Vocabulary::Json { value, .. } => value["truncation"]["direction"].as_str(),
            Vocabulary::Lines { .. } => None,
        };
        match self.config.value.get("truncation_side") {
            None if saved == Some("Left") => Ok(Side::Left),
            None => Ok(Side::Right),
            Some(side) if side == "left" => Ok(Side::Left),
            Some(side) if side == "right" => Ok(Side::Right),
            Some(other) => {
                let found = format!("truncation_side is {other}, expected \"left\" or \"right\"");
                Err(wrong(self.config.path.clone())(found.into()))
            }
        }
    }
}

fn vocabulary(folder: &Path) -> Result<Vocabulary, DataError> {
    let path = folder.join(TOKENIZER_FILE);
    if let Some(bytes) = read_if_present(&path)? {
        let value: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|err| wrong(path.clone())(err.into()))?;
        return Ok(Vocabulary::Json { path, value: value.into(), bytes });
    }
    let path = folder.join("vocab.txt");
    match read_if_present(&path)? {
        Some(bytes) => Ok(Vocabulary::Lines { path, bytes }),
        None => Err(DataError::NoTokenizer { folder: folder.to_owned() }),
    }
}

fn object(path: PathBuf) -> Result<Object, DataError> {
    let value = match read_if_present(&path)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|err| wrong(path.clone())(err.into()))?,
        None => Map::new(),
    };
    Ok(Object { path, value })
}

fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Open { path: path.to_owned(), source }),
    }
}
