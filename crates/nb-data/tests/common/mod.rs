//! Helpers of the integration tests: the golden vocabulary in a folder, files with given content.

use std::fs;
use std::path::{Path, PathBuf};

use nb_data::Tokenizer;
use tempfile::TempDir;

pub(crate) const VOCAB: &str = include_str!("../golden/vocab.txt");

/// A folder that is removed at the end of the test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Writes a file into a folder and returns its path.
pub(crate) fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a temporary folder can be written");
    path
}

/// The golden vocabulary as a checkpoint's folder, with a `tokenizer_config.json` if one is given.
pub(crate) fn checkpoint(config: Option<&str>) -> TempDir {
    let folder = folder();
    file(&folder, "vocab.txt", VOCAB);
    if let Some(config) = config {
        file(&folder, "tokenizer_config.json", config);
    }
    folder
}

pub(crate) fn tokenizer(folder: &Path) -> Tokenizer {
    Tokenizer::from_folder(folder).expect("a tokenizer")
}

/// The lower-casing tokenizer of the golden vocabulary.
pub(crate) fn golden_tokenizer() -> Tokenizer {
    tokenizer(checkpoint(Some(r#"{"do_lower_case": true}"#)).path())
}
