//! The files of a folder in BEIR's layout.

use std::path::{Path, PathBuf};

/// A folder in BEIR's layout. It need not exist.
///
/// ```
/// use nb_data::beir::{Folder, Split};
/// let folder = Folder::new("data/nfcorpus");
/// assert_eq!(folder.corpus(), std::path::Path::new("data/nfcorpus/corpus.jsonl"));
/// assert_eq!(folder.qrels(Split::Dev), std::path::Path::new("data/nfcorpus/qrels/dev.tsv"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// Returns the folder at a path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the file of the documents.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        self.0.join("corpus.jsonl")
    }

    /// Returns the file of the queries of all splits.
    #[must_use]
    pub fn queries(&self) -> PathBuf {
        self.0.join("queries.jsonl")
    }

    /// Returns the file of a split's judgements.
    #[must_use]
    pub fn qrels(&self, split: Split) -> PathBuf {
        self.0.join("qrels").join(split.name()).with_extension("tsv")
    }
}

/// A split of the judgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Training.
    Train,
    /// Model selection.
    Dev,
    /// The final measurement.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];

    /// Returns `train`, `dev` or `test`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}
