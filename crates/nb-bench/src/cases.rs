//! The cases by name, and the corpora they stand on: the real ones where they are, else the sample corpus.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_data::read::{Column, CsvLayout, Field, Format, Header, Quoting, Source};
use nb_data::sample::{self, SampleSize};

/// The two data sets, as folders below `--data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// `ag_news/{train,dev}.csv`: label, title, description.
    News,
    /// `clicks/{news,train_behaviors,dev_behaviors}.tsv`, in MIND's format.
    Clicks,
}

impl Set {
    fn folder(self) -> &'static str {
        match self {
            Self::News => "ag_news",
            Self::Clicks => "clicks",
        }
    }
}

/// Whose texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The data sets'.
    Real,
    /// The sample corpus'.
    Sample,
}

/// A case as a command lists it: its name on the data set and on the sample corpus, what it needs, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Entry<T> {
    /// Its name on the data set.
    pub real: &'static str,
    /// Its name on the sample corpus.
    pub sample: &'static str,
    /// The data set.
    pub set: Set,
    /// What it does.
    pub what: T,
}

/// A case that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case<T> {
    /// Its name.
    pub name: &'static str,
    /// Whose texts it stands on.
    pub origin: Origin,
    /// What it does.
    pub what: T,
}

/// The cases called `wanted`; if none are, every entry, on its data set if that is in `data`, else on the sample corpus.
///
/// # Errors
/// If there is no case of a name, or its data set is not there.
pub fn choose<T: Copy>(entries: &[Entry<T>], wanted: &[String], data: &Path) -> Result<Vec<Case<T>>> {
    let there = |set: Set| data.join(set.folder()).is_dir();
    let case = |entry: &Entry<T>, origin| Case {
        name: if origin == Origin::Real { entry.real } else { entry.sample },
        origin,
        what: entry.what,
    };
    if wanted.is_empty() {
        let origin = |set| if there(set) { Origin::Real } else { Origin::Sample };
        return Ok(entries.iter().map(|entry| case(entry, origin(entry.set))).collect());
    }
    let one = |name: &String| {
        let of_sample = entries.iter().find(|entry| entry.sample == name).map(|entry| case(entry, Origin::Sample));
        if let Some(case) = of_sample {
            return Ok(case);
        }
        let Some(entry) = entries.iter().find(|entry| entry.real == name) else {
            let names: Vec<_> = entries.iter().flat_map(|entry| [entry.real, entry.sample]).collect();
            bail!("--case is {name}, expected one of {}", names.join(", "))
        };
        if !there(entry.set) {
            let folder = data.join(entry.set.folder());
            bail!(
                "--case is {name}, but there is no {}; --data names another folder, and {} is the same on the sample corpus",
                folder.display(),
                entry.sample
            );
        }
        Ok(case(entry, Origin::Real))
    };
    wanted.iter().map(one).collect()
}

/// Where the texts lie.
#[derive(Debug, Clone)]
pub struct Corpora {
    data: PathBuf,
    sample: PathBuf,
}

/// Files of one of the two data sets, for training and for development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Training rows or impressions.
    pub train: PathBuf,
    /// Development rows or impressions.
    pub dev: PathBuf,
}

impl Corpora {
    /// The corpora of a call; writes the sample corpus into the folder `scratch`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(data: &Path, scratch: &Path) -> Result<Self> {
        let sample = scratch.join("sample");
        sample::write(&sample, 0, SampleSize::default())?;
        let data = std::path::absolute(data).with_context(|| format!("--data is {}", data.display()))?;
        Ok(Self { data, sample })
    }

    /// Texts with labels.
    pub fn news(&self, origin: Origin) -> Files {
        match origin {
            Origin::Real => self.files("ag_news", ["train.csv", "dev.csv"]),
            Origin::Sample => {
                let file = |split: &str| self.sample.join(split).join("news.tsv");
                Files { train: file("train"), dev: file("dev") }
            }
        }
    }

    /// Impressions, each beside its `news.tsv`.
    pub fn clicks(&self, origin: Origin) -> Files {
        match origin {
            Origin::Real => self.files("clicks", ["train_behaviors.tsv", "dev_behaviors.tsv"]),
            Origin::Sample => {
                let file = |split: &str| self.sample.join("recommend").join(split).join("behaviors.tsv");
                Files { train: file("train"), dev: file("dev") }
            }
        }
    }

    fn files(&self, folder: &str, [train, dev]: [&str; 2]) -> Files {
        let folder = self.data.join(folder);
        Files { train: folder.join(train), dev: folder.join(dev) }
    }
}

/// How the texts of [`Corpora::news`] are read: titles with or without what follows them.
pub fn news_source(origin: Origin, path: PathBuf, fields: Fields) -> Source {
    let format = match origin {
        Origin::Real => Format::Csv(CsvLayout {
            label: Some(Column::Number(0)),
            text: fields.columns().iter().map(|&column| Column::Number(column)).collect(),
            header: Header::Absent,
            delimiter: b',',
            quoting: Quoting::Auto,
        }),
        Origin::Sample => Format::MindNews { fields: fields.parts() },
    };
    Source::labelled(path, format)
}

/// Parts of the news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// The title.
    Title,
    /// Title and description.
    Both,
}

impl Fields {
    /// Columns of AG's files.
    pub fn columns(self) -> &'static [usize] {
        match self {
            Self::Title => &[1],
            Self::Both => &[1, 2],
        }
    }

    /// Names in configurations.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Title => &["title"],
            Self::Both => &["title", "abstract"],
        }
    }

    fn parts(self) -> Vec<Field> {
        match self {
            Self::Title => vec![Field::Title],
            Self::Both => vec![Field::Title, Field::Abstract],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [Entry<u8>; 2] = [
        Entry { real: "ag-64", sample: "sample-64", set: Set::News, what: 1 },
        Entry { real: "clicks-titles", sample: "sample-clicks", set: Set::Clicks, what: 2 },
    ];

    fn names(wanted: &[&str], data: &Path) -> Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        Ok(choose(&ENTRIES, &wanted, data)?.into_iter().map(|case| case.name).collect())
    }

    #[test]
    fn a_data_set_that_is_missing_is_replaced_unless_it_was_named() {
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
