//! The forms in which a model folder has its weights, and the index of weights in several files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::CheckpointError;
use crate::files::{INDEX_FILE, PICKLE_FILE, PICKLE_INDEX_FILE, WEIGHTS_FILE, is_plain_name};

/// A form of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One file of this name.
    File(&'static str),
    /// Several files, with an index of this name.
    Index(&'static str),
}

impl Form {
    /// All forms. If a folder has several, the first is used, as in transformers 5
    /// (`_get_resolved_checkpoint_files` in `modeling_utils.py`).
    pub(crate) const ALL: [Self; 4] =
        [Self::File(WEIGHTS_FILE), Self::Index(INDEX_FILE), Self::File(PICKLE_FILE), Self::Index(PICKLE_INDEX_FILE)];

    /// Returns the form of the weights in a folder, if it has any.
    pub(crate) fn find(folder: &Path) -> Option<Self> {
        Self::ALL.into_iter().find(|form| folder.join(form.name()).is_file())
    }

    /// Returns the name of the file, or of the index.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File(name) | Self::Index(name) => name,
        }
    }
}

/// Returns the name of a file of weights that a folder lacks; `None` if it has weights and they are complete. An index
/// that cannot be read counts as missing.
pub(crate) fn missing(folder: &Path) -> Option<String> {
    match Form::find(folder) {
        None => Some(WEIGHTS_FILE.to_owned()),
        Some(Form::File(_)) => None,
        Some(Form::Index(name)) => match ShardIndex::read(&folder.join(name)) {
            Err(_) => Some(name.to_owned()),
            Ok(index) => index.files().into_iter().find(|file| !folder.join(file).is_file()).map(str::to_owned),
        },
    }
}

/// The index of weights in several files: the file of each tensor.
#[derive(Debug, Deserialize)]
struct IndexJson {
    weight_map: BTreeMap<String, String>,
}

/// The index of weights in several files, whose names are checked.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    pub(crate) path: PathBuf,
    /// The name of the file of each tensor.
    pub(crate) places: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// If it cannot be read, is not JSON, lacks `weight_map`, or names a file outside its folder.
    pub(crate) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = std::fs::read(path).map_err(CheckpointError::io("cannot read", path))?;
        let error = |found: String| CheckpointError::Index { path: path.into(), found };
        let json: IndexJson = serde_json::from_slice(&text).map_err(|cause| error(cause.to_string()))?;
        // The names become parts of a path.
        if let Some((tensor, file)) = json.weight_map.iter().find(|(_, file)| !is_plain_name(file)) {
            return Err(error(format!(
                "tensor {tensor} is in `{file}`, expected the name of a file in the same folder"
            )));
        }
        Ok(Self { path: path.into(), places: json.weight_map })
    }

    /// Returns the names of all files.
    pub(crate) fn files(&self) -> BTreeSet<&str> {
        self.places.values().map(String::as_str).collect()
    }

    /// Returns an error about the index.
    pub(crate) fn error(&self, found: String) -> CheckpointError {
        CheckpointError::Index { path: self.path.clone(), found }
    }
}
