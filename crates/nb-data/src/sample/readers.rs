//! Simulated readers of the sample's stories, and what they click.
//!
//! A reader has one to three favourite topics. Most of what they read is of these, and of what they are shown they
//! click by interest, but not always: no ranking gets everything right. Some readers have read nothing yet.

use super::sentences::{Split, Story};
use super::words::TOPICS;
use crate::random::{Stream, mix};

/// Keep apart the randomness of what readers are, and of what they are shown.
const READER: u64 = 0x72_65_61_64_65_72; // "reader"
const SHOWN: u64 = 0x73_68_6F_77_6E; // "shown"

/// Share of readers without a history.
const COLD: f64 = 0.1;
/// The longest history.
const LONGEST: f64 = 30.0;
/// Share of a history that is of a favourite topic.
const LOYAL: f64 = 0.9;
/// How many candidates an impression has.
const FEWEST: u64 = 5;
const MOST: u64 = 20;
/// Share of candidates that are chosen for the reader.
const CHOSEN: f64 = 0.2;
/// How much a reader wants to click news of the first, second and third favourite topic …
const INTEREST: [f64; 3] = [1.0, 0.7, 0.5];
/// … and any other.
const CURIOSITY: f64 = 0.03;
/// How often one impression has a second click, and how often a third.
const MORE_CLICKS: [f64; 2] = [0.25, 0.07];

/// Impressions per reader of the training split, on average.
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

    /// Any story, or one of a topic of which there are some.
    fn draw(&self, topic: Option<usize>, stream: &mut Stream) -> usize {
        match topic.map(|topic| &self.by_topic[topic]).filter(|rows| !rows.is_empty()) {
            Some(rows) => *stream.choose(rows),
            None => stream.below(self.stories.len() as u64) as usize,
        }
    }

    /// Up to `count` different stories, none of them in `without`, each of the topic that `topic` draws for it.
    fn draw_different(
        &self,
        count: usize,
        without: &[usize],
        stream: &mut Stream,
        mut topic: impl FnMut(&mut Stream) -> Option<usize>,
    ) -> Vec<usize> {
        let mut rows = Vec::with_capacity(count);
        // Few stories may run out; a real corpus is far from that.
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

/// A reader: a function of the seed, their number and the training stories.
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

    /// A favourite topic with this probability, by interest; else none.
    fn topic(&self, probability: f64, stream: &mut Stream) -> Option<usize> {
        let draw = stream.unit();
        let weights = &INTEREST[..self.favourites.len()];
        (draw < probability).then(|| self.favourites[weighted(weights, stream)])
    }

    /// What they are shown: stories that they have not read.
    fn shown(&self, stories: &Stories, stream: &mut Stream) -> Vec<usize> {
        let count = FEWEST + stream.below(MOST - FEWEST + 1);
        let read = if stories.split == Split::Train { self.history.as_slice() } else { &[] };
        stories.draw_different(count as usize, read, stream, |stream| self.topic(CHOSEN, stream))
    }

    fn interest(&self, topic: usize) -> f64 {
        self.favourites.iter().position(|&favourite| favourite == topic).map_or(CURIOSITY, |place| INTEREST[place])
    }
}

/// What one reader was shown at once.
pub(super) struct Impression {
    reader: u64,
    /// Training stories, the oldest click first.
    pub(super) history: Vec<usize>,
    /// Stories of the split, and whether they were clicked.
    candidates: Vec<(usize, bool)>,
}

/// The impressions of a split: of readers of whom some come again, and in development some are new.
///
/// There are none of fewer than two stories.
pub(super) fn impressions(
    seed: u64,
    train: &Stories,
    shown: &Stories,
    count: usize,
    readers: usize,
) -> Vec<Impression> {
    let one = |number: usize| {
        let mut stream = Stream::new(mix(&[seed, SHOWN, shown.split as u64, number as u64]));
        let who = stream.below(readers as u64);
        let reader = Reader::new(seed, who, train);
        let rows = reader.shown(shown, &mut stream);
        let mut weights: Vec<f64> = rows.iter().map(|&row| reader.interest(shown.stories[row].topic)).collect();
        let more = stream.unit();
        let clicks = 1 + MORE_CLICKS.iter().filter(|&&share| more < share).count();
        for _ in 0..clicks.min(rows.len().saturating_sub(1)) {
            // A weight of 0 marks a click, since nothing is clicked twice.
            let clicked = weighted(&weights, &mut stream);
            weights[clicked] = 0.0;
        }
        let candidates: Vec<_> = rows.into_iter().zip(weights.iter().map(|&weight| weight == 0.0)).collect();
        (candidates.len() > 1).then_some(Impression { reader: who, history: reader.history, candidates })
    };
    (0..count).filter_map(one).collect()
}

/// How many readers there are for so many training impressions.
pub(super) fn readers(impressions: usize) -> usize {
    impressions.div_ceil(PER_READER).max(1)
}

/// A place, as often as its weight says; one of a positive weight.
fn weighted(weights: &[f64], stream: &mut Stream) -> usize {
    let mut left = stream.unit() * weights.iter().sum::<f64>();
    let mut last = 0;
    for (place, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        if left < weight {
            return place;
        }
        left -= weight;
        last = place; // rounding may leave a little of the last one
    }
    last
}

impl Impression {
    /// Its line of `behaviors.tsv`; `number` counts from 0, `of` is how many there are.
    pub(super) fn line(&self, split: Split, number: usize, of: usize) -> String {
        let history: Vec<String> = self.history.iter().map(|row| format!("{}{row}", Split::Train.letter())).collect();
        let candidate = |&(row, clicked): &(usize, bool)| format!("{}{row}-{}", split.letter(), u8::from(clicked));
        let candidates: Vec<String> = self.candidates.iter().map(candidate).collect();
        let (id, time) = (number + 1, time(split, number, of));
        format!("{id}\tU{}\t{time}\t{}\t{}", self.reader, history.join(" "), candidates.join(" "))
    }
}

/// Four days of training, then one of development, as MIND writes them.
fn time(split: Split, number: usize, of: usize) -> String {
    let (first, days) = if split == Split::Train { (11, 4) } else { (15, 1) };
    let second = number * days * 86_400 / of.max(1);
    let (day, hour, minute, second) = (first + second / 86_400, second / 3600 % 24, second / 60 % 60, second % 60);
    let half = if hour < 12 { "AM" } else { "PM" };
    format!("11/{day}/2019 {}:{minute:02}:{second:02} {half}", (hour + 11) % 12 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_a_clock() {
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
        // The largest standard deviation is 87.
        for (count, expected) in counts.into_iter().zip([10_000, 0, 5000, 15_000_u32]) {
            assert!(count.abs_diff(expected) < 435, "{counts:?}");
        }
    }
}
