//! A generated corpus for trying things out: articles with topics, readers who click, and headlines to search with.
//!
//! ```text
//! train/news.tsv, dev/news.tsv                             topics, in MIND's format
//! recommend/train/{news,behaviors}.tsv, recommend/dev/…    simulated readers, as MIND's folders
//! beir/                                                    retrieval, in BEIR's layout
//! ```
//!
//! It is designed so that models score differently and none scores perfectly.
//!
//! - **Topics.** A bag of words scores far below an encoder, because many words of the development articles never occur
//!   in training (see the word lists); 3 % of the labels are wrong, and some articles contain no word of their topic.
//! - **Recommendation.** A separate set of articles, called stories. Readers click by topic, with noise. Development
//!   impressions show articles that training impressions never show; as in MIND, `recommend/dev/news.tsv` contains these
//!   articles and the training articles of histories.
//! - **Retrieval.** [`beir::from_news`] over the same stories: a text repeats only some words of its headline.
//!
//! An article depends only on the seed, its split and its number, so a larger corpus begins with the articles of a
//! smaller one. The clicks also depend on the number of articles.

mod readers;
mod sentences;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::atomic;
use crate::beir::{self, Conversion, Written};
use crate::error::DataError;
use crate::read::{Field, Format, LabelRule, Source};
use readers::{Impression, Stories};
use sentences::{Split, line};
use words::TOPICS;

/// The path of each file, relative to the folder of the corpus.
pub const FILES: [&str; 11] = [
    "train/news.tsv",
    "dev/news.tsv",
    "recommend/train/news.tsv",
    "recommend/train/behaviors.tsv",
    "recommend/dev/news.tsv",
    "recommend/dev/behaviors.tsv",
    "beir/corpus.jsonl",
    "beir/queries.jsonl",
    "beir/qrels/train.tsv",
    "beir/qrels/dev.tsv",
    "beir/qrels/test.tsv",
];

/// The number of rows of each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSize {
    /// Rows of `train/news.tsv`, at least 1, and number of training stories. Three stories give two impressions.
    pub train: usize,
    /// Rows of `dev/news.tsv`, at least 1, and number of development stories. Six stories give five impressions.
    pub dev: usize,
}

impl Default for SampleSize {
    /// 3000 training rows and 600 development rows, 2000 and 500 impressions.
    fn default() -> Self {
        Self { train: 3000, dev: 600 }
    }
}

/// The corpus that [`write()`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `<folder>/train/news.tsv`.
    pub train: PathBuf,
    /// `<folder>/dev/news.tsv`.
    pub dev: PathBuf,
    /// Number of topics, the labels of the corpus.
    pub topics: usize,
    /// `<folder>/recommend/train`, which contains `news.tsv` and `behaviors.tsv`.
    pub recommend_train: PathBuf,
    /// `<folder>/recommend/dev`, with the same files.
    pub recommend_dev: PathBuf,
    /// Number of impressions of training and of development.
    pub impressions: [usize; 2],
    /// The data set in `<folder>/beir`.
    pub beir: Written,
}

/// Writes the corpus of `seed` under `folder`, replacing an existing one.
///
/// Each file is written atomically.
///
/// ```
/// use nb_data::sample::{SampleSize, write};
/// let folder = tempfile::tempdir()?;
/// let sample = write(folder.path(), 0, SampleSize { train: 20, dev: 10 })?;
/// assert_eq!(std::fs::read_to_string(sample.dev)?.lines().count(), 10);
/// assert!(sample.topics >= 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DataError::Write`] if a file cannot be written; also if a size is 0.
pub fn write(folder: &Path, seed: u64, size: SampleSize) -> Result<Sample, DataError> {
    let (train, dev) = (folder.join("train").join("news.tsv"), folder.join("dev").join("news.tsv"));
    for (path, split, rows) in [(&train, Split::Train, size.train), (&dev, Split::Dev, size.dev)] {
        atomic::write_lines(path, (0..rows).map(|row| line(seed, split, row)))?;
    }
    let recommend = folder.join("recommend");
    let (recommend_train, recommend_dev) = (recommend.join("train"), recommend.join("dev"));
    let impressions = write_recommend(&recommend_train, &recommend_dev, seed, size)?;

    let source = |folder: &Path| Source {
        labels: LabelRule::Optional,
        ..Source::labelled(folder.join("news.tsv"), Format::MindNews { fields: vec![Field::Title, Field::Abstract] })
    };
    let stories = [source(&recommend_train), source(&recommend_dev)];
    let beir = beir::from_news(&stories, &folder.join("beir"), Conversion { seed })?;
    Ok(Sample { train, dev, topics: TOPICS.len(), recommend_train, recommend_dev, impressions, beir })
}

/// Writes both recommendation folders; returns the number of impressions in each.
fn write_recommend(train: &Path, dev: &Path, seed: u64, size: SampleSize) -> Result<[usize; 2], DataError> {
    let counts = [size.train * 2 / 3, size.dev * 5 / 6];
    let train_readers = readers::readers(counts[0]);
    let old = Stories::new(seed, Split::Train, size.train);
    let new = Stories::new(seed, Split::Dev, size.dev);
    let shown_old = readers::impressions(seed, &old, &old, counts[0], train_readers);
    // A fifth of the development readers are new.
    let shown_new = readers::impressions(seed, &old, &new, counts[1], train_readers + train_readers.div_ceil(4));

    let lines = |stories: &Stories, row: usize| stories.stories[row].line(stories.split, row);
    atomic::write_lines(&train.join("news.tsv"), (0..size.train).map(|row| lines(&old, row)))?;
    let history_rows: BTreeSet<usize> = shown_new.iter().flat_map(|impression| &impression.history).copied().collect();
    let history_lines = history_rows.into_iter().map(|row| lines(&old, row));
    atomic::write_lines(&dev.join("news.tsv"), (0..size.dev).map(|row| lines(&new, row)).chain(history_lines))?;
    for (folder, stories, shown) in [(train, &old, &shown_old), (dev, &new, &shown_new)] {
        let line = |(number, it): (usize, &Impression)| it.line(stories.split, number, shown.len());
        atomic::write_lines(&folder.join("behaviors.tsv"), shown.iter().enumerate().map(line))?;
    }
    Ok([shown_old.len(), shown_new.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_created_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write(file.path(), 0, SampleSize { train: 1, dev: 1 }).unwrap_err();
        assert!(error.to_string().ends_with("train/news.tsv"), "{error}");
    }
}
