//! The files of a data set of clicks: MIND's and EB-NeRD's.

use std::path::{Path, PathBuf};

use super::ebnerd::{self, EbnerdFiles};
use super::layout::ImpressionLayout;
use crate::MissingFile;
use crate::read::{Field, Format, LabelRule, Source};

/// MIND's file of articles.
const NEWS: &str = "news.tsv";
/// MIND's file of impressions.
const BEHAVIORS: &str = "behaviors.tsv";

/// The files of a data set of clicks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickFiles {
    /// The articles: MIND's `news.tsv`, EB-NeRD's `articles.parquet`.
    pub news: PathBuf,
    /// The impressions: `behaviors.tsv`, or a file with another name beside the `news.tsv`; EB-NeRD's `behaviors.parquet`.
    pub behaviors: PathBuf,
    /// The form of the impressions.
    pub form: ImpressionForm,
}

/// The form of a file of impressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImpressionForm {
    /// MIND's `behaviors.tsv`.
    Mind,
    /// Parquet with these columns.
    Parquet(ImpressionLayout),
}

impl ClickFiles {
    /// Finds the files that `path` stands for: a MIND folder, a file of impressions beside its `news.tsv`, or a folder of a
    /// split of EB-NeRD ([`EbnerdFiles`]), which is known by its `behaviors.parquet`. A Parquet file is one of EB-NeRD.
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
        if path.join(ebnerd::BEHAVIORS).is_file() {
            return EbnerdFiles::find(path).map(Self::from);
        }
        if is_parquet(path) && !path.is_dir() {
            return EbnerdFiles::beside(path, path).map(Self::from);
        }
        let behaviors = if path.is_dir() { path.join(BEHAVIORS) } else { path.to_owned() };
        let files = Self { news: behaviors.with_file_name(NEWS), behaviors, form: ImpressionForm::Mind };
        let expected = format!("a folder with {NEWS} and {BEHAVIORS}, or a file of impressions beside its {NEWS}");
        match MissingFile::first(path, [&files.behaviors, &files.news], expected) {
            None => Ok(files),
            Some(missing) => Err(missing),
        }
    }

    /// Returns the data set of two files: those of MIND, or those of EB-NeRD if the impressions are Parquet. The histories of
    /// EB-NeRD's readers are then in `history.parquet` beside them.
    #[must_use]
    pub fn of(news: &Path, behaviors: &Path) -> Self {
        let (news, behaviors) = (news.to_owned(), behaviors.to_owned());
        if is_parquet(&behaviors) {
            let history = behaviors.with_file_name(ebnerd::HISTORY);
            return EbnerdFiles { articles: news, behaviors, history }.into();
        }
        Self { news, behaviors, form: ImpressionForm::Mind }
    }

    /// Returns the source of the articles, with one or two fields as their texts. EB-NeRD's abstract is its `subtitle`.
    #[must_use]
    pub fn articles(&self, fields: &[Field]) -> Source {
        let format = match self.form {
            ImpressionForm::Mind => Format::MindNews { fields: fields.to_vec() },
            ImpressionForm::Parquet(_) => ebnerd::article_format(fields),
        };
        Source { labels: LabelRule::Optional, ..Source::labelled(&self.news, format) }
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

impl From<EbnerdFiles> for ClickFiles {
    fn from(files: EbnerdFiles) -> Self {
        let form = ImpressionForm::Parquet(files.layout());
        Self { news: files.articles, behaviors: files.behaviors, form }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_eb_nerd_are_found_by_folder_and_by_file() {
        let folder = tempfile::tempdir().unwrap();
        let train = folder.path().join("train");
        std::fs::create_dir(&train).unwrap();
        for file in ["articles.parquet", "train/behaviors.parquet", "train/part.parquet", "train/history.parquet"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let same = |path: &Path| path.canonicalize().unwrap();
        for (path, behaviors) in
            [(train.clone(), "behaviors"), (train.join("part.parquet"), "part"), (train.join("."), "behaviors")]
        {
            let files = ClickFiles::find(&path).unwrap();
            assert_eq!(same(&files.news), same(&folder.path().join("articles.parquet")), "{path:?}");
            assert_eq!(files.behaviors.file_stem().unwrap(), behaviors);
            let ImpressionForm::Parquet(layout) = files.form else { panic!("{path:?}") };
            assert_eq!(same(layout.history_file().unwrap()), same(&train.join("history.parquet")));
        }
        let missing = ClickFiles::find(&train.join("x.parquet")).unwrap_err().to_string();
        assert!(missing.starts_with("there is no such file or folder; expected"), "{missing}");
        // In the current folder, whose articles are those of the folder around it.
        assert_eq!(ebnerd::around(Path::new("./behaviors.parquet")), Path::new("./.."));
        assert_eq!(ebnerd::around(Path::new("behaviors.parquet")), Path::new(".."));
        assert_eq!(ebnerd::around(Path::new("../behaviors.parquet")), Path::new("../.."));
        assert_eq!(ebnerd::around(Path::new("train/behaviors.parquet")), Path::new(""));
    }
}
