//! Training samples: a click, and articles of the same impression that were not clicked.

use rustc_hash::FxHashSet;

use super::Behaviors;
use super::clicks::UNKNOWN;
use crate::random::{Stream, mix};

/// A click to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// The number of the impression.
    pub impression: u32,
    /// The position of the clicked candidate within the impression.
    pub candidate: u32,
}

/// The samples of some impressions, and the numbers of impressions that give none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// One sample for each known article clicked in an impression, in the order of impressions and positions.
    pub samples: Vec<Sample>,
    /// Impressions in which no known article was clicked.
    pub no_click: u64,
    /// Impressions in which every known article was clicked.
    pub no_other: u64,
}

impl Behaviors {
    /// Returns the training samples of the given impressions: the clicks of each impression that has a negative. An
    /// article that an impression lists as clicked more than once gives one sample, at its first position.
    ///
    /// # Panics
    /// If an impression does not exist.
    #[must_use]
    pub fn samples(&self, impressions: &[u32]) -> Samples {
        let mut all = Samples::default();
        let mut others = Vec::new();
        for &impression in impressions {
            let start = all.samples.len();
            for (position, candidate) in self.shown(impression).enumerate() {
                if candidate.row != UNKNOWN && candidate.click == CLICKED {
                    all.samples.push(Sample { impression, candidate: position as u32 });
                }
            }
            if self.repeats(impression) {
                let row = |sample: &Sample| self.candidates(impression as usize)[sample.candidate as usize];
                let mut clicks = all.samples.split_off(start);
                clicks.sort_by_key(row);
                clicks.dedup_by_key(|sample| row(sample));
                clicks.sort_by_key(|sample| sample.candidate);
                all.samples.append(&mut clicks);
            }
            others.clear();
            self.push_others(impression, &mut others);
            if all.samples.len() == start {
                all.no_click += 1;
            } else if others.is_empty() {
                all.no_other += 1;
                all.samples.truncate(start);
            }
        }
        all
    }

    /// Returns the negatives of a sample in an epoch: `count` articles, drawn from the distinct candidates of its
    /// impression that are known and not clicked at any position. They are drawn without replacement if there are at
    /// least `count`, else with replacement.
    ///
    /// The same seed, epoch, impression and position always give the same negatives.
    ///
    /// # Panics
    /// If the impression does not exist or has no negative; a sample from [`Behaviors::samples`] always has one.
    #[must_use]
    pub fn negatives(&self, sample: Sample, count: usize, seed: u64, epoch: u64) -> Vec<u32> {
        let mut negatives = Vec::new();
        self.draw(sample, count, mix(&[seed, epoch, NEGATIVES]), &mut negatives);
        negatives
    }

    /// Replaces the content of `pool` with the negatives of a sample. `key` mixes the seed and the epoch.
    pub(super) fn draw(&self, sample: Sample, count: usize, key: u64, pool: &mut Vec<u32>) {
        let Sample { impression, candidate } = sample;
        pool.clear();
        self.push_others(impression, pool);
        let others = pool.len();
        assert!(count == 0 || others > 0, "impression {impression} has no unclicked article to draw from");
        let mut stream = Stream::new(mix(&[key, u64::from(impression), u64::from(candidate)]));
        let mut below = |bound: usize| stream.below(bound as u64) as usize;
        if count <= others {
            for i in 0..count {
                pool.swap(i, i + below(others - i));
            }
            pool.truncate(count);
        } else {
            for _ in 0..count {
                pool.push(pool[below(others)]);
            }
            pool.drain(..others);
        }
    }

    /// Adds all possible negatives of an impression to `others`, in the order of the line.
    fn push_others(&self, impression: u32, others: &mut Vec<u32>) {
        let not_clicked = |candidate: &Candidate| candidate.row != UNKNOWN && candidate.click == NOT_CLICKED;
        if !self.repeats(impression) {
            others.extend(self.shown(impression).filter(not_clicked).map(|candidate| candidate.row));
            return;
        }
        let clicks = self.shown(impression).filter(|candidate| candidate.click == CLICKED);
        let mut taken: FxHashSet<u32> = clicks.map(|candidate| candidate.row).collect();
        for candidate in self.shown(impression).filter(not_clicked) {
            if taken.insert(candidate.row) {
                others.push(candidate.row);
            }
        }
    }

    /// Returns the candidates of an impression with their click labels.
    fn shown(&self, impression: u32) -> impl Iterator<Item = Candidate> {
        let (rows, clicks) = (self.candidates(impression as usize), self.clicked(impression as usize));
        rows.iter().zip(clicks).map(|(&row, &click)| Candidate { row, click })
    }

    /// Returns true if an impression lists a candidate more than once. Few impressions do; the others skip the search
    /// for duplicates.
    fn repeats(&self, impression: u32) -> bool {
        self.repeating.binary_search(&impression).is_ok()
    }
}

/// A candidate of an impression.
struct Candidate {
    row: u32,
    click: u8,
}

const NOT_CLICKED: u8 = 0;
const CLICKED: u8 = 1;

/// Separates the randomness of negatives from other uses of the same seed.
pub(super) const NEGATIVES: u64 = 0x6E_65_67; // "neg"
