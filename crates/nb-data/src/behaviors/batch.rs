//! Batches of samples in which each article occurs once, however many readers have read it.
//!
//! Most of the cost of training is encoding articles, and the readers of a batch share many of them. So a batch lists
//! each article once, and histories and candidates are positions in that list.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::Behaviors;
use super::samples::{NEGATIVES, Sample};
use crate::BatchSize;
use crate::random::mix;

/// The treatment of a click on an article that is already in the reader's history.
///
/// If such clicks are common in training but rare in use, a model learns to look for the candidate in the history, and
/// little else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClickedBefore {
    /// Keeps the history of the file.
    #[default]
    Keep,
    /// Removes the clicked article from the sample's history.
    LeaveOut,
}

/// The rules for the negatives and the history of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Number of negatives for each click.
    pub negatives: usize,
    /// The run's seed.
    pub seed: u64,
    /// The epoch; each epoch draws different negatives.
    pub epoch: u64,
    /// The treatment of a click on an article of the history.
    pub clicked_before: ClickedBefore,
}

impl Draw {
    fn key(&self) -> u64 {
        mix(&[self.seed, self.epoch, NEGATIVES])
    }
}

/// A batch of R readers, one per sample, with D different articles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReaderBatch {
    /// \[D\] rows of the articles, by descending length, then by row.
    pub news: Vec<u32>,
    /// \[Σ history lengths\] positions in `news`, one reader after the other, the oldest article first.
    pub history: Vec<i64>,
    /// \[R\] number of articles of each reader's history; 0 for a reader without one.
    pub history_lengths: Vec<i64>,
    /// \[R, 1 + negatives\] positions in `news`: the clicked article, then the negatives.
    pub candidates: Vec<i64>,
    /// Negatives per reader.
    pub negatives: usize,
}

impl ReaderBatch {
    /// Makes the batch of the given samples. `length` returns the number of tokens of an article.
    ///
    /// # Panics
    /// If a sample is not from [`Behaviors::samples`].
    #[must_use]
    pub fn new(behaviors: &Behaviors, samples: &[Sample], draw: &Draw, length: impl Fn(u32) -> usize) -> Self {
        let (mut history, mut candidates) = (Vec::new(), Vec::new());
        let mut history_lengths = Vec::with_capacity(samples.len());
        let mut negatives = Vec::new();
        for &sample in samples {
            let clicked = behaviors.candidates(sample.impression as usize)[sample.candidate as usize];
            let before = history.len();
            history.extend_from_slice(behaviors.history(sample.impression as usize));
            if draw.clicked_before == ClickedBefore::LeaveOut {
                let with_clicked = history.split_off(before);
                history.extend(with_clicked.into_iter().filter(|&article| article != clicked));
            }
            history_lengths.push((history.len() - before) as i64);
            behaviors.draw(sample, draw.negatives, draw.key(), &mut negatives);
            candidates.push(clicked);
            candidates.extend_from_slice(&negatives);
        }

        let mut news = [&history[..], &candidates[..]].concat();
        news.sort_unstable();
        news.dedup();
        news.sort_by_cached_key(|&row| (Reverse(length(row)), row));
        let place: FxHashMap<u32, i64> = news.iter().copied().zip(0..).collect();
        let places = |rows: Vec<u32>| rows.iter().map(|row| place[row]).collect();
        let (history, candidates) = (places(history), places(candidates));
        Self { news, history, history_lengths, candidates, negatives: draw.negatives }
    }

    /// Returns the number of readers.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.history_lengths.len()
    }

    /// Returns the same readers with every mention as a separate article, still the longest first. This is the work of
    /// an implementation without deduplication, for comparisons.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let mentions: Vec<i64> = self.history.iter().chain(&self.candidates).copied().collect();
        let mut order: Vec<usize> = (0..mentions.len()).collect();
        order.sort_by_key(|&mention| mentions[mention]);
        let mut places = vec![0; mentions.len()];
        for (place, &mention) in (0..).zip(&order) {
            places[mention] = place;
        }
        let news = order.iter().map(|&mention| self.news[mentions[mention] as usize]).collect();
        let candidates = places.split_off(self.history.len());
        Self { news, history: places, candidates, ..self.clone() }
    }
}

/// Cuts samples into micro-batches: takes them in `order` (positions in `samples`), as many per batch as `size` allows.
/// A sequence is a sample; the tokens are those of a batch's distinct articles, negatives included. Every sample is in
/// one batch, and the order does not change.
///
/// # Panics
/// If `order` contains a position beyond `samples`, or a sample is not from [`Behaviors::samples`].
#[must_use]
pub fn cut_distinct(
    behaviors: &Behaviors,
    samples: &[Sample],
    order: &[u32],
    draw: &Draw,
    length: impl Fn(u32) -> usize,
    size: BatchSize,
) -> Vec<Vec<u32>> {
    let most = match size {
        BatchSize::Sequences(most) => return order.chunks(most.max(1)).map(<[u32]>::to_vec).collect(),
        BatchSize::Tokens(most) => most,
    };
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut news = Distinct { batch: 0, last_batch: vec![0; behaviors.news()], tokens: 0 };
    let mut rows = Vec::new();
    for &number in order {
        let sample = samples[number as usize];
        let impression = sample.impression as usize;
        behaviors.draw(sample, draw.negatives, draw.key(), &mut rows);
        rows.push(behaviors.candidates(impression)[sample.candidate as usize]);
        news.add(&rows, &length);
        news.add(behaviors.history(impression), &length);
        match batches.last_mut() {
            Some(batch) if news.tokens <= most => batch.push(number),
            _ => {
                news.clear();
                news.add(&rows, &length);
                news.add(behaviors.history(impression), &length);
                batches.push(vec![number]);
            }
        }
    }
    batches
}

/// The distinct articles of a batch in progress.
struct Distinct {
    /// The current batch, counted from 1; 0 before the first.
    batch: u32,
    /// The last batch that each article was added to. Nothing has to be cleared for the next batch.
    last_batch: Vec<u32>,
    tokens: usize,
}

impl Distinct {
    fn add(&mut self, rows: &[u32], length: impl Fn(u32) -> usize) {
        for &row in rows {
            let last_batch = &mut self.last_batch[row as usize];
            if *last_batch != self.batch {
                *last_batch = self.batch;
                self.tokens += length(row);
            }
        }
    }

    fn clear(&mut self) {
        (self.batch, self.tokens) = (self.batch + 1, 0);
    }
}
