//! Folders of test files.

use std::fs;

use tempfile::TempDir;

/// An empty folder that is removed when the value is dropped.
///
/// # Panics
///
/// If the folder cannot be created.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be created")
}

/// A temporary folder with the given files, each a name and its content. A name may contain folders, which are created.
///
/// ```
/// let folder = nb_testing::folder_with(&[("config.json", "{}"), ("tokens/vocab.txt", "[PAD]\n")]);
/// assert_eq!(std::fs::read_to_string(folder.path().join("tokens/vocab.txt")).unwrap(), "[PAD]\n");
/// ```
///
/// # Panics
///
/// If the folder or a file cannot be written.
pub fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = folder();
    for (name, content) in files {
        let path = folder.path().join(name);
        let parent = path.parent().expect("a file in a folder has a parent");
        fs::create_dir_all(parent).expect("a temporary folder can be written");
        fs::write(&path, content).expect("a temporary folder can be written");
    }
    folder
}
