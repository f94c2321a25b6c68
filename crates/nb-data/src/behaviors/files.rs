//! The files of a MIND folder.

use std::path::{Path, PathBuf};

use crate::MissingFile;

/// MIND's file of articles.
const NEWS: &str = "news.tsv";
/// MIND's file of impressions.
const BEHAVIORS: &str = "behaviors.tsv";

/// The two files of a MIND folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickFiles {
    /// The articles: `news.tsv`.
    pub news: PathBuf,
    /// The impressions: `behaviors.tsv`, or a file with another name beside the `news.tsv`.
    pub behaviors: PathBuf,
}

impl ClickFiles {
    /// Finds the files that `path` stands for: a MIND folder, or a file of impressions beside its `news.tsv`.
    ///
    /// ```
    /// use nb_data::behaviors::ClickFiles;
    /// let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("behaviors.tsv"), "")?;
    /// assert!(ClickFiles::find(folder.path()).unwrap_err().to_string().contains("news.tsv does not exist"));
    /// std::fs::write(folder.path().join("news.tsv"), "")?;
    /// assert_eq!(ClickFiles::find(folder.path()).unwrap().news, folder.path().join("news.tsv"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a file is missing.
    pub fn find(path: &Path) -> Result<Self, MissingFile> {
        let behaviors = if path.is_dir() { path.join(BEHAVIORS) } else { path.to_owned() };
        let files = Self { news: behaviors.with_file_name(NEWS), behaviors };
        let expected = format!("a folder with {NEWS} and {BEHAVIORS}, or a file of impressions beside its {NEWS}");
        match MissingFile::first(path, [&files.behaviors, &files.news], expected) {
            None => Ok(files),
            Some(missing) => Err(missing),
        }
    }
}
