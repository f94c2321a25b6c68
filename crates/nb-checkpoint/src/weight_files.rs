//! The forms in which a model folder has its weights, and the index of weights in several files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::CheckpointError;
use crate::files::{INDEX_FILE, INT8_WEIGHTS_FILE, PICKLE_FILE, PICKLE_INDEX_FILE, WEIGHTS_FILE, is_plain_name};

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

/// Returns the files that hold the weights of a model folder, for example to compute a hash of them: the first form that
/// the folder has of those that [`SavedEncoder::map`](crate::SavedEncoder::map) reads. Of several files, the index is the
/// first, and files that do not exist are left out. A folder without weights has none.
///
/// ```
/// let folder = std::env::temp_dir().join(format!("nb-weight-files-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// std::fs::write(folder.join("pytorch_model.bin"), "")?;
/// assert_eq!(nb_checkpoint::weight_files(&folder), [folder.join("pytorch_model.bin")]);
/// std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn weight_files(folder: &Path) -> Vec<PathBuf> {
    let names = match Form::find(folder) {
        None => vec![INT8_WEIGHTS_FILE.to_owned()],
        Some(Form::File(name)) => vec![name.to_owned()],
        Some(Form::Index(name)) => {
            let shards = ShardIndex::read(&folder.join(name))
                .map(|index| index.files().into_iter().map(str::to_owned).collect());
            [name.to_owned()].into_iter().chain(shards.unwrap_or_else(|_| Vec::new())).collect()
        }
    };
    names.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_files_of_a_form_are_listed_with_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let names = || -> Vec<String> {
            let files = weight_files(folder.path());
            files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!((names().len(), missing(folder.path())), (0, Some(WEIGHTS_FILE.to_owned())));
        write(INT8_WEIGHTS_FILE, "");
        assert_eq!(names(), [INT8_WEIGHTS_FILE]);
        write(PICKLE_INDEX_FILE, "{}");
        assert_eq!((names(), missing(folder.path())), (vec![PICKLE_INDEX_FILE.into()], Some(PICKLE_INDEX_FILE.into())));
        write(PICKLE_INDEX_FILE, r#"{"weight_map": {"x": "b.bin", "y": "a.bin", "z": "b.bin"}}"#);
        write("b.bin", "");
        assert_eq!(
            (names(), missing(folder.path())),
            (vec![PICKLE_INDEX_FILE.into(), "b.bin".into()], Some("a.bin".into()))
        );
        write("a.bin", "");
        assert_eq!(names(), [PICKLE_INDEX_FILE, "a.bin", "b.bin"]);
        assert_eq!(missing(folder.path()), None);
        write(WEIGHTS_FILE, "");
        assert_eq!((names(), missing(folder.path())), (vec![WEIGHTS_FILE.into()], None));
    }
}
