//! The columns of impressions in Parquet files.

use std::path::{Path, PathBuf};

use crate::read::KeyPath;

/// The columns of impressions in a Parquet file.
///
/// Ids are texts or whole numbers; a list of ids is a list column, or a text with spaces between the ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpressionLayout {
    /// The impression's id.
    pub id: KeyPath,
    /// The shown articles.
    pub candidates: CandidateColumns,
    /// The articles that the reader had read before.
    pub history: HistoryColumns,
}

/// The columns of the shown articles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateColumns {
    /// Ids with click labels, as in MIND: `N1-1 N2-0`.
    Labelled(KeyPath),
    /// A list of the shown articles, and one of the clicked ones among them. A file of a test set may lack the second
    /// column if clicks are not required.
    ShownAndClicked {
        /// The shown articles.
        shown: KeyPath,
        /// The clicked articles.
        clicked: KeyPath,
    },
}

/// The place of the articles that a reader had read before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryColumns {
    /// There is none.
    Absent,
    /// A column of the impressions, the oldest article first.
    Column(KeyPath),
    /// A file with one row per reader. Readers without a row have no history.
    Readers {
        /// The file.
        path: PathBuf,
        /// The reader's id, in both files.
        reader: KeyPath,
        /// The articles, the oldest first.
        articles: KeyPath,
    },
}

impl ImpressionLayout {
    /// Returns the file of the readers' histories, if they are in a file of their own.
    #[must_use]
    pub fn history_file(&self) -> Option<&Path> {
        match &self.history {
            HistoryColumns::Readers { path, .. } => Some(path),
            HistoryColumns::Absent | HistoryColumns::Column(_) => None,
        }
    }

    /// Returns the layout of MIND's columns: `impression_id`, `history` and `impressions`.
    #[must_use]
    pub fn mind() -> Self {
        Self {
            id: KeyPath::fixed("impression_id"),
            candidates: CandidateColumns::Labelled(KeyPath::fixed("impressions")),
            history: HistoryColumns::Column(KeyPath::fixed("history")),
        }
    }

    /// Returns the layout of EB-NeRD's `behaviors.parquet`, with the `history.parquet` at `history`.
    #[must_use]
    pub fn ebnerd(history: impl Into<PathBuf>) -> Self {
        Self {
            id: KeyPath::fixed("impression_id"),
            candidates: CandidateColumns::ShownAndClicked {
                shown: KeyPath::fixed("article_ids_inview"),
                clicked: KeyPath::fixed("article_ids_clicked"),
            },
            history: HistoryColumns::Readers {
                path: history.into(),
                reader: KeyPath::fixed("user_id"),
                articles: KeyPath::fixed("article_id_fixed"),
            },
        }
    }
}
