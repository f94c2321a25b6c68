//! Simulated readers of the sample's stories, and their clicks.
//!
//! A reader has one to three favourite topics. Readers mostly read about these and usually click by interest, but not
//! always, so no ranking is perfect. Some readers have an empty history.

use super::sentences::{Split, Story};
use super::words::TOPICS;
use crate::random::{Stream, mix};

/// Separate the randomness of readers from that of impressions.
const READER: u64 = 0x72_65_61_64_65_72; // "reader"
const SHOWN: u64 = 0x73_68_6F_77_6E; // "shown"

/// Share of readers without a history.
const COLD: f64 = 0.1;
/// The longest history.
const LONGEST: f64 = 30.0;
/// Share of a history on favourite topics.
const LOYAL: f64 = 0.9;
/// Smallest and largest number of candidates of an impression.
const FEWEST: u64 = 5;
const MOST: u64 = 20;
/// Share of candidates that are chosen by the reader's interest.
const CHOSEN: f64 = 0.2;
/// Interest in articles of the first, second and third favourite topic.
const INTEREST: [f64; 3] = [1.0, 0.7, 0.5];
/// Interest in articles of any other topic.
const CURIOSITY: f64 = 0.03;
/// Share of impressions with a second click, and with a third.
const MORE_CLICKS: [f64; 2] = [0.25, 0.07];

/// Average number of training impressions per reader.
const PER_READER: usize = 5;

/// The stories of a split.
pub(super) struct Stories {
    pub(super) split: Split,
    pub(super) stories: Vec<Story>,
    by_topic: Vec<Vec<usize>>,
}

impl Stories {
    pub(super) fn new(seed: u64, split: Split, rows: usize) -> Self {
        let stories: Vec<Story> = (0..rows).map(|row| Story::new(seed, split, row)).collect();
        let mut by_topic = vec![Vec::new(); TOPICS.len()];
        for (row, story) in stories.iter().enumerate() {
            by_topic[story.topic].push(row);
        }
        Self { split, stories, by_topic }
    }

    /// Draws a story of the topic, or any story if `topic` is `None` or the topic has no story.
    fn draw(&self, topic: Option<usize>, stream: &mut Stream) -> usize {
        match topic.map(|topic| &self.by_topic[topic]).filter(|rows| !rows.is_empty()) {
            Some(rows) => *stream.choose(rows),
            None => stream.below(self.stories.len() as u64) as usize,
        }
    }

    /// Draws up to `count` different stories that are not in `without`. `topic` draws the topic of each.
    fn draw_different(
        &self,
        count: usize,
        without: &[usize],
        stream: &mut Stream,
        mut topic: impl FnMut(&mut Stream) -> Option<usize>,
    ) -> Vec<usize> {
        let mut rows = Vec::with_capacity(count);
        // A tiny corpus may run out of stories.
        for _ in 0..20 * count {
            if rows.len() == count || self.stories.is_empty() {
                break;
            }
            let topic = topic(stream);
            let row = self.draw(topic, stream);
            if !rows.contains(&row) && !without.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }
}

/// A reader, determined by the seed, the reader's number and the training stories.
struct Reader {
    favourites: Vec<usize>,
    history: Vec<usize>,
}

impl Reader {
    fn new(seed: u64, number: u64, train: &Stories) -> Self {
        let mut stream = Stream::new(mix(&[seed, READER, number]));
        let mut topics: Vec<usize> = (0..TOPICS.len()).collect();
        stream.shuffle(&mut topics);
        topics.truncate(1 + stream.below(INTEREST.len() as u64) as usize);
        let mut reader = Self { favourites: topics, history: Vec::new() };
        if stream.unit() >= COLD {
            // Short histories are more common than long ones.
            let length = 1 + (LONGEST * stream.unit().powi(2)) as usize;
            reader.history = train.draw_different(length, &[], &mut stream, |stream| reader.topic(LOYAL, stream));
        }
        reader
    }

    /// With this probability, draws a favourite topic in proportion to interest; otherwise returns `None`.
    fn topic(&self, probability: f64, stream: &mut Stream) -> Option<usize> {
        let draw = stream.unit();
        let weights = &INTEREST[..self.favourites.len()];
        (draw < probability).then(|| self.favourites[weighted(weights, stream)])
    }

    /// Draws the stories shown to the reader, which they have not read.
    fn shown(&self, stories: &Stories, stream: &mut Stream) -> Vec<usize> {
        let count = FEWEST + stream.below(MOST - FEWEST + 1);
        let read = if stories.split == Split::Train { self.history.as_slice() } else { &[] };
        stories.draw_different(count as usize, read, stream, |stream| self.topic(CHOSEN, stream))
    }

    fn interest(&self, topic: usize) -> f64 {
        self.favourites.iter().position(|&favourite| favourite == topic).map_or(CURIOSITY, |place| INTEREST[place])
    }
}

/// The stories shown to a reader together.
pub(super) struct Impression {
    reader: u64,
    /// Training stories, the oldest click first.
    pub(super) history: Vec<usize>,
    /// Stories of the split.
    candidates: Vec<Candidate>,
}

/// A story that was shown to a reader.
struct Candidate {
    row: usize,
    is_clicked: bool,
}

/// Draws the impressions of a split. Readers may have several; some readers of the development split are new.
///
/// Impressions of fewer than two stories are skipped.
pub(super) fn impressions(
    seed: u64,
    train: &Stories,
    shown: &Stories,
    count: usize,
    readers: usize,
) -> Vec<Impression> {
    let impression = |number: usize| {
        let mut stream = Stream::new(mix(&[seed, SHOWN, shown.split as u64, number as u64]));
        let reader_number = stream.below(readers as u64);
        let reader = Reader::new(seed, reader_number, train);
        let rows = reader.shown(shown, &mut stream);
        let mut weights: Vec<f64> = rows.iter().map(|&row| reader.interest(shown.stories[row].topic)).collect();
        let more = stream.unit();
        let clicks = 1 + MORE_CLICKS.iter().filter(|&&share| more < share).count();
        for _ in 0..clicks.min(rows.len().saturating_sub(1)) {
            // A weight of 0 marks a click, since nothing is clicked twice.
            let clicked = weighted(&weights, &mut stream);
            weights[clicked] = 0.0;
        }
        let candidate = |(row, &weight): (usize, &f64)| Candidate { row, is_clicked: weight == 0.0 };
        let candidates: Vec<_> = rows.into_iter().zip(&weights).map(candidate).collect();
        (candidates.len() > 1).then_some(Impression { reader: reader_number, history: reader.history, candidates })
    };
    (0..count).filter_map(impression).collect()
}

/// Returns the number of readers for a number of training impressions.
pub(super) fn readers(impressions: usize) -> usize {
    impressions.div_ceil(PER_READER).max(1)
}

/// Draws a position with probability proportional to its weight; a position of weight 0 is never drawn.
fn weighted(weights: &[f64], stream: &mut Stream) -> usize {
    let mut remaining = stream.unit() * weights.iter().sum::<f64>();
    let mut last = 0;
    for (place, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        if remaining < weight {
            return place;
        }
        remaining -= weight;
        last = place; // rounding errors may leave a remainder
    }
    last
}

impl Impression {
    /// Returns the line of `behaviors.tsv`; `number` counts from 0, `count` is the number of impressions.
    pub(super) fn line(&self, split: Split, number: usize, count: usize) -> String {
        let history: Vec<String> = self.history.iter().map(|row| format!("{}{row}", Split::Train.letter())).collect();
        let candidate = |it: &Candidate| format!("{}{}-{}", split.letter(), it.row, u8::from(it.is_clicked));
        let candidates: Vec<String> = self.candidates.iter().map(candidate).collect();
        let (id, time) = (number + 1, time(split, number, count));
        format!("{id}\tU{}\t{time}\t{}\t{}", self.reader, history.join(" "), candidates.join(" "))
    }
}

/// Returns the time in MIND's format: four days of training, then one of development.
fn time(split: Split, number: usize, count: usize) -> String {
    let (first, days) = if split == Split::Train { (11, 4) } else { (15, 1) };
    let second = number * days * 86_400 / count.max(1);
    let (day, hour, minute, second) = (first + second / 86_400, second / 3600 % 24, second / 60 % 60, second % 60);
    let half = if hour < 12 { "AM" } else { "PM" };
    format!("11/{day}/2019 {}:{minute:02}:{second:02} {half}", (hour + 11) % 12 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_use_a_twelve_hour_clock() {
        let hours = |number| time(Split::Dev, number, 24);
        assert_eq!(
            [0, 1, 12, 23].map(hours),
            ["11/15/2019 12:00:00 AM", "11/15/2019 1:00:00 AM", "11/15/2019 12:00:00 PM", "11/15/2019 11:00:00 PM"]
        );
        assert_eq!(time(Split::Train, 7, 10), "11/13/2019 7:12:00 PM");
    }

    #[test]
    fn a_weighted_draw_follows_the_weights() {
        let mut stream = Stream::new(1);
        let mut counts = [0_u32; 4];
        for _ in 0..30_000 {
            counts[weighted(&[1.0, 0.0, 0.5, 1.5], &mut stream)] += 1;
        }
        // The limit is five of the largest standard deviation, 87.
        for (count, expected) in counts.into_iter().zip([10_000, 0, 5000, 15_000_u32]) {
            assert!(count.abs_diff(expected) < 435, "{counts:?}");
        }
    }
}
