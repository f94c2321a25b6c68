//! EB-NeRD, the news recommendation data set of Ekstra Bladet: a folder with `articles.parquet`, and folders `train` and
//! `validation` with `behaviors.parquet` and `history.parquet`.
//!
//! A reader's history is one row of `history.parquet`, so the impressions of a reader share it. The candidates are
//! `article_ids_inview`, and those that also occur in `article_ids_clicked` are clicked; the test set lacks the latter.
//! Ids are numbers, which become texts in [`Article::id`](crate::read::Article::id).

use std::path::{Path, PathBuf};

use super::layout::ImpressionLayout;
use crate::MissingFile;
use crate::error::DataError;
use crate::read::{Field, Format, KeyLayout, KeyPath, LabelRule, Source};

const ARTICLES: &str = "articles.parquet";
pub(super) const BEHAVIORS: &str = "behaviors.parquet";
pub(super) const HISTORY: &str = "history.parquet";

/// Returns the format of the articles with these fields as texts.
pub(super) fn article_format(fields: &[Field]) -> Format {
    let column = |field: &Field| {
        KeyPath::fixed(match field {
            Field::Title => "title",
            Field::Abstract => "subtitle",
        })
    };
    format_with(fields.iter().map(column).collect())
}

/// Returns the format of the articles with these columns as texts.
fn format_with(text: Vec<KeyPath>) -> Format {
    let label = Some(KeyPath::fixed("category_str").into());
    Format::Parquet(KeyLayout { label, text, id: Some(KeyPath::fixed("article_id")) })
}

/// Returns the folder around that of a file.
pub(super) fn around(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    // `.`, `..` and the empty path have no name, and their parent is not the folder around them.
    match (folder.file_name(), folder.parent()) {
        (Some(_), Some(parent)) => parent.to_owned(),
        _ => folder.join(".."),
    }
}

/// The files of a split of EB-NeRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EbnerdFiles {
    /// The articles of all splits.
    pub articles: PathBuf,
    /// The impressions of the split.
    pub behaviors: PathBuf,
    /// The histories of its readers.
    pub history: PathBuf,
}

impl EbnerdFiles {
    /// Finds the files of a split, given its folder, such as `train`. The articles are in this folder or the one around it.
    ///
    /// ```
    /// use nb_data::behaviors::EbnerdFiles;
    /// let folder = tempfile::tempdir()?;
    /// let train = folder.path().join("train");
    /// std::fs::create_dir(&train)?;
    /// for file in ["articles.parquet", "train/behaviors.parquet"] {
    ///     std::fs::write(folder.path().join(file), "")?;
    /// }
    /// assert!(EbnerdFiles::find(&train).unwrap_err().to_string().contains("history.parquet does not exist"));
    /// std::fs::write(train.join("history.parquet"), "")?;
    /// assert_eq!(EbnerdFiles::find(&train).unwrap().articles, folder.path().join("articles.parquet"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a file is missing.
    pub fn find(folder: &Path) -> Result<Self, MissingFile> {
        let behaviors = folder.join(BEHAVIORS);
        Self::beside(&behaviors, folder)
    }

    /// Finds the files of a split, given its file of impressions; `path` is the data set in the error.
    pub(super) fn beside(behaviors: &Path, path: &Path) -> Result<Self, MissingFile> {
        let inside = behaviors.with_file_name(ARTICLES);
        let articles = if inside.is_file() { inside } else { around(behaviors).join(ARTICLES) };
        let files = Self { articles, history: behaviors.with_file_name(HISTORY), behaviors: behaviors.to_owned() };
        let expected =
            format!("a folder with {BEHAVIORS} and {HISTORY}, and {ARTICLES} in it or in the folder around it");
        match MissingFile::first(path, [&files.behaviors, &files.history, &files.articles], expected) {
            None => Ok(files),
            Some(missing) => Err(missing),
        }
    }

    /// Returns the layout of the impressions.
    #[must_use]
    pub fn layout(&self) -> ImpressionLayout {
        ImpressionLayout::ebnerd(&self.history)
    }

    /// Returns the source of the articles: ids, categories as labels, and one or more of the texts `title`, `subtitle` and
    /// `body`.
    ///
    /// # Errors
    /// If a name is empty.
    pub fn articles(&self, texts: &[&str]) -> Result<Source, DataError> {
        let format = format_with(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?);
        Ok(Source { labels: LabelRule::Optional, ..Source::labelled(&self.articles, format) })
    }
}
