//! Training samples: a click, and news of the same impression that were not clicked.

use super::Behaviors;
use super::clicks::UNKNOWN;
use crate::random::{Stream, mix};

/// A click to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// The impression's number.
    pub impression: u32,
    /// The place of the clicked candidate within the impression.
    pub candidate: u32,
}

/// The samples of some impressions, and what became none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// One per known news that was clicked in an impression, in the order of impressions and places.
    pub samples: Vec<Sample>,
    /// Impressions in which no known news was clicked.
    pub no_click: u64,
    /// Impressions in which known news were clicked, but there is no other known one that was not.
    pub no_other: u64,
}

impl Behaviors {
    /// The training samples of the given impressions: for each, its clicks, if it has a negative to set against them. A
    /// news that an impression lists as clicked more than once gives one sample, at the first of its places.
    ///
    /// # Panics
    /// If there is no such impression.
    #[must_use]
    pub fn samples(&self, impressions: &[u32]) -> Samples {
        let mut all = Samples::default();
        let mut others = Vec::new();
        for &impression in impressions {
            let start = all.samples.len();
            let candidates = self.shown(impression).enumerate();
            let clicks = candidates.filter(|&(_, (row, click))| row != UNKNOWN && click == CLICKED);
            all.samples.extend(clicks.map(|(place, _)| Sample { impression, candidate: place as u32 }));
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

    /// The negatives of a sample in an epoch: `count` rows of the news, drawn from the candidates of its impression that
    /// are known and not clicked there (also not at another place), each of which counts once. None is drawn twice if
    /// there are at least `count`; else each draw is from all of them.
    ///
    /// The same seed, epoch, impression and place give the same negatives for ever.
    ///
    /// # Panics
    /// If there is no such impression or nothing to draw from, which is so for no sample of [`Behaviors::samples`].
    #[must_use]
    pub fn negatives(&self, sample: Sample, count: usize, seed: u64, epoch: u64) -> Vec<u32> {
        let mut negatives = Vec::new();
        self.draw(sample, count, mix(&[seed, epoch, NEGATIVES]), &mut negatives);
        negatives
    }

    /// Puts the negatives of a sample into `pool`. `key` is made of the seed and the epoch.
    pub(super) fn draw(&self, sample: Sample, count: usize, key: u64, pool: &mut Vec<u32>) {
        let Sample { impression, candidate } = sample;
        pool.clear();
        self.push_others(impression, pool);
        let others = pool.len();
        assert!(count == 0 || others > 0, "impression {impression} has no news that was not clicked to draw from");
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

    /// Adds the negatives there are for an impression to `others`, in the order of the line.
    fn push_others(&self, impression: u32, others: &mut Vec<u32>) {
        let not_clicked = |&(row, click): &(u32, u8)| row != UNKNOWN && click == NOT_CLICKED;
        if !self.repeats(impression) {
            others.extend(self.shown(impression).filter(not_clicked).map(|(row, _)| row));
            return;
        }
        let clicks = self.shown(impression).filter(|&(_, click)| click == CLICKED);
        let mut clicked: Vec<u32> = clicks.map(|(row, _)| row).collect();
        clicked.sort_unstable();
        let places = self.shown(impression).filter(not_clicked).enumerate();
        let mut places: Vec<(u32, usize)> = places.map(|(place, (row, _))| (row, place)).collect();
        places.retain(|(row, _)| clicked.binary_search(row).is_err());
        places.sort_unstable();
        places.dedup_by_key(|(row, _)| *row);
        places.sort_unstable_by_key(|&(_, place)| place);
        others.extend(places.iter().map(|(row, _)| row));
    }

    /// The candidates of an impression with their clicks.
    fn shown(&self, impression: u32) -> impl Iterator<Item = (u32, u8)> {
        let i = impression as usize;
        self.candidates(i).iter().copied().zip(self.clicked(i).iter().copied())
    }

    /// Whether an impression lists a candidate more than once: few do, and the others need no looking for it.
    fn repeats(&self, impression: u32) -> bool {
        self.repeating.binary_search(&impression).is_ok()
    }
}

const NOT_CLICKED: u8 = 0;
const CLICKED: u8 = 1;

/// Keeps the randomness of negatives apart from that of other uses of the same seed.
pub(super) const NEGATIVES: u64 = 0x6E_65_67; // "neg"
