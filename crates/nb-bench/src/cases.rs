//! The named cases and the corpora that they read: the data sets if they are present, otherwise the sample corpus.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_data::read::{Column, CsvLayout, Delimiter, Field, Format, Header, Quoting, Source};
use nb_data::sample::{self, SampleSize};

/// A data set, a folder inside `--data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// `ag_news/{train,dev}.csv`: label, title, description.
    AgNews,
    /// `clicks/{news,train_behaviors,dev_behaviors}.tsv`, in MIND's format.
    Clicks,
}

impl Dataset {
    fn folder(self) -> &'static str {
        match self {
            Self::AgNews => "ag_news",
            Self::Clicks => "clicks",
        }
    }
}

/// The corpus that a case reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corpus {
    /// The data set of the case.
    Dataset,
    /// The sample corpus.
    Sample,
}

/// A case in the list of a command.
#[derive(Debug, Clone, Copy)]
pub struct CaseEntry<K> {
    /// Its name on the data set.
    pub dataset_name: &'static str,
    /// Its name on the sample corpus.
    pub sample_name: &'static str,
    /// The data set that it reads.
    pub dataset: Dataset,
    /// The work that it measures.
    pub kind: K,
}

/// A selected case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case<K> {
    /// Its name.
    pub name: &'static str,
    /// The corpus that it reads.
    pub corpus: Corpus,
    /// The work that it measures.
    pub kind: K,
}

impl<K: Copy> CaseEntry<K> {
    fn on(&self, corpus: Corpus) -> Case<K> {
        let name = match corpus {
            Corpus::Dataset => self.dataset_name,
            Corpus::Sample => self.sample_name,
        };
        Case { name, corpus, kind: self.kind }
    }

    fn has_dataset(&self, data: &Path) -> bool {
        data.join(self.dataset.folder()).is_dir()
    }
}

/// Selects the cases with the names `wanted`. Without names, selects every entry: on its data set if `data` contains
/// it, otherwise on the sample corpus.
///
/// # Errors
/// If a name is unknown, or if its data set is missing.
pub fn select<K: Copy>(entries: &[CaseEntry<K>], wanted: &[String], data: &Path) -> Result<Vec<Case<K>>> {
    if !wanted.is_empty() {
        return wanted.iter().map(|name| find(entries, name, data)).collect();
    }
    let corpus = |entry: &CaseEntry<K>| if entry.has_dataset(data) { Corpus::Dataset } else { Corpus::Sample };
    Ok(entries.iter().map(|entry| entry.on(corpus(entry))).collect())
}

/// Returns the case with this name.
fn find<K: Copy>(entries: &[CaseEntry<K>], name: &str, data: &Path) -> Result<Case<K>> {
    if let Some(entry) = entries.iter().find(|entry| entry.sample_name == name) {
        return Ok(entry.on(Corpus::Sample));
    }
    let Some(entry) = entries.iter().find(|entry| entry.dataset_name == name) else {
        let names: Vec<_> = entries.iter().flat_map(|entry| [entry.dataset_name, entry.sample_name]).collect();
        bail!("--case is {name}, expected one of {}", names.join(", "))
    };
    if !entry.has_dataset(data) {
        let folder = data.join(entry.dataset.folder());
        bail!(
            "--case is {name}, but {} does not exist; set --data, or use {}, the same case on the sample corpus",
            folder.display(),
            entry.sample_name
        );
    }
    Ok(entry.on(Corpus::Dataset))
}

/// The locations of the data sets and of the sample corpus.
#[derive(Debug, Clone)]
pub struct Corpora {
    data: PathBuf,
    sample: PathBuf,
}

/// The training and development files of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFiles {
    /// Training rows or impressions.
    pub train: PathBuf,
    /// Development rows or impressions.
    pub dev: PathBuf,
}

impl Corpora {
    /// Writes the sample corpus into the folder `scratch` and returns the corpora of a call.
    ///
    /// # Errors
    /// If the sample corpus cannot be written.
    pub fn open(data: &Path, scratch: &Path) -> Result<Self> {
        let sample = scratch.join("sample");
        sample::write(&sample, 0, SampleSize::default())?;
        let data = std::path::absolute(data).with_context(|| format!("--data is {}", data.display()))?;
        Ok(Self { data, sample })
    }

    /// Returns the files with labelled articles.
    pub fn articles(&self, corpus: Corpus) -> SplitFiles {
        match corpus {
            Corpus::Dataset => self.dataset_files(Dataset::AgNews, "train.csv", "dev.csv"),
            Corpus::Sample => {
                let file = |split: &str| self.sample.join(split).join("news.tsv");
                SplitFiles { train: file("train"), dev: file("dev") }
            }
        }
    }

    /// Returns the files with impressions. Each has its `news.tsv` in the same folder.
    pub fn impressions(&self, corpus: Corpus) -> SplitFiles {
        match corpus {
            Corpus::Dataset => self.dataset_files(Dataset::Clicks, "train_behaviors.tsv", "dev_behaviors.tsv"),
            Corpus::Sample => {
                let file = |split: &str| self.sample.join("recommend").join(split).join("behaviors.tsv");
                SplitFiles { train: file("train"), dev: file("dev") }
            }
        }
    }

    fn dataset_files(&self, dataset: Dataset, train: &str, dev: &str) -> SplitFiles {
        let folder = self.data.join(dataset.folder());
        SplitFiles { train: folder.join(train), dev: folder.join(dev) }
    }
}

/// Returns the source that reads a file of [`Corpora::articles`].
pub fn article_source(corpus: Corpus, path: PathBuf, fields: ArticleFields) -> Source {
    let format = match corpus {
        Corpus::Dataset => Format::Csv(CsvLayout {
            label: Some(Column::Number(0).into()),
            text: fields.columns().iter().map(|&column| Column::Number(column)).collect(),
            header: Header::Absent,
            delimiter: Delimiter::COMMA,
            quoting: Quoting::Auto,
        }),
        Corpus::Sample => Format::MindNews { fields: fields.mind_fields() },
    };
    Source::labelled(path, format)
}

/// The fields of an article that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArticleFields {
    /// The title.
    Title,
    /// Title and abstract.
    TitleAndAbstract,
}

impl ArticleFields {
    /// Returns the column numbers in the files of AG News.
    pub fn columns(self) -> &'static [usize] {
        match self {
            Self::Title => &[1],
            Self::TitleAndAbstract => &[1, 2],
        }
    }

    /// Returns the names of the fields in configurations.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Title => &["title"],
            Self::TitleAndAbstract => &["title", "abstract"],
        }
    }

    fn mind_fields(self) -> Vec<Field> {
        match self {
            Self::Title => vec![Field::Title],
            Self::TitleAndAbstract => vec![Field::Title, Field::Abstract],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [CaseEntry<u8>; 2] = [
        CaseEntry { dataset_name: "ag-64", sample_name: "sample-64", dataset: Dataset::AgNews, kind: 1 },
        CaseEntry { dataset_name: "clicks-titles", sample_name: "sample-clicks", dataset: Dataset::Clicks, kind: 2 },
    ];

    fn names(wanted: &[&str], data: &Path) -> Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        Ok(select(&ENTRIES, &wanted, data)?.into_iter().map(|case| case.name).collect())
    }

    #[test]
    fn the_sample_corpus_replaces_a_missing_data_set_unless_the_case_is_named() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("clicks")).unwrap();
        assert_eq!(names(&[], data.path()).unwrap(), ["sample-64", "clicks-titles"]);
        assert_eq!(names(&["sample-clicks"], data.path()).unwrap(), ["sample-clicks"]);
        let error = names(&["ag-64"], data.path()).unwrap_err().to_string();
        assert!(error.contains("ag_news") && error.contains("sample-64"), "{error}");
        let error = names(&["ag"], data.path()).unwrap_err().to_string();
        assert!(error.contains("expected one of ag-64, sample-64, clicks-titles, sample-clicks"), "{error}");
    }
}
