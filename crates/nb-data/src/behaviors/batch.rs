//! Samples become batches in which no news stands twice, however many readers have read it.
//!
//! Encoding the news is what training costs, and the readers of a batch mention the same news again and again. So a
//! batch lists each news once, and histories and candidates are places in that list.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::Behaviors;
use super::samples::{NEGATIVES, Sample};
use crate::BatchSize;
use crate::random::mix;

/// What becomes of a click on a news that the reader's history holds already.
///
/// Where such clicks are common in training and rare where the model is used, a model learns to look for the candidate in
/// the history, and little else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClickedBefore {
    /// The history is as the file has it.
    #[default]
    Keep,
    /// The sample's history goes without its clicked news.
    LeaveOut,
}

/// Which negatives are drawn, and which history stands beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How many for each click.
    pub negatives: usize,
    /// The run's seed.
    pub seed: u64,
    /// Each epoch has others.
    pub epoch: u64,
    /// What becomes of a click on a news of the history.
    pub clicked_before: ClickedBefore,
}

impl Draw {
    fn key(&self) -> u64 {
        mix(&[self.seed, self.epoch, NEGATIVES])
    }
}

/// A batch of R readers, one per sample, with D different news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReaderBatch {
    /// \[D\] different rows of the news, the longest first and equally long ones by row.
    pub news: Vec<u32>,
    /// \[Σ history lengths\] places in `news`, one reader after the other, the oldest first.
    pub history: Vec<i64>,
    /// \[R\] news of each reader's history; 0 for a reader without any.
    pub history_lengths: Vec<i64>,
    /// \[R, 1 + negatives\] places in `news`: the clicked one, then the negatives.
    pub candidates: Vec<i64>,
    /// Negatives per reader.
    pub negatives: usize,
}

impl ReaderBatch {
    /// The batch of the given samples. `length` is how many tokens a row of the news has.
    ///
    /// # Panics
    /// If a sample is none of [`Behaviors::samples`].
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
                let own = history.split_off(before);
                history.extend(own.into_iter().filter(|&news| news != clicked));
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

    /// How many readers there are.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.history_lengths.len()
    }

    /// The same readers with every mention a news of its own, the longest first still: what would be encoded if nobody
    /// looked for repeats. For comparisons.
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

/// Cuts samples into micro-batches: from the front of `order`, which numbers them, as much into each as `size` allows.
/// Sequences are samples; tokens are those of a batch's different news, negatives included. No sample is left out and
/// none changes its place.
///
/// # Panics
/// If `order` numbers a sample that is not there, or a sample is none of [`Behaviors::samples`].
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
    let mut news = Distinct { batch: 0, met: vec![0; behaviors.news()], tokens: 0 };
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

/// The different news of a batch that grows.
struct Distinct {
    /// The current batch, counted from 1; 0 before the first.
    batch: u32,
    /// Per row of the news: the last batch that it was added to. So nothing needs clearing for the next.
    met: Vec<u32>,
    tokens: usize,
}

impl Distinct {
    fn add(&mut self, rows: &[u32], length: impl Fn(u32) -> usize) {
        for &row in rows {
            let met = &mut self.met[row as usize];
            if *met != self.batch {
                *met = self.batch;
                self.tokens += length(row);
            }
        }
    }

    fn clear(&mut self) {
        (self.batch, self.tokens) = (self.batch + 1, 0);
    }
}
