//! A corpus to try things on: `train/news.tsv` and `dev/news.tsv` in MIND's format, from a seed.
//!
//! It is made so that models differ. A bag of words stays far behind an encoder, because many words of the development
//! news never occur in training (the lists say which); no model reaches 100 %, because a share of the labels is wrong
//! (3 %) and some articles name nothing of their topic. A row depends on the seed, its split and its number only:
//! a longer corpus begins with the shorter one.

mod words;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::random::{Stream, mix};
use words::{ANYONE, ANYTHING, PLACES, TAILS, TIMES, TOPICS, Topic, VERBS, Words};

/// Share of rows whose label is that of another topic, in both splits.
const NOISE: f64 = 0.03;
/// A slot for an actor or a thing is filled with a word of no topic with this probability …
const PLAIN: f64 = 0.24;
/// … with a word of another topic with this one …
const STRAY: f64 = 0.08;
/// … with a word of the topic that both splits know with this one, and else with one that only this split knows.
const BOTH: f64 = 0.33;

/// Headlines. Words in braces are slots; `the` gives a common noun its article.
const TITLES: &[&str] = &[
    "{actor} in {place} {verb} {thing} {time}",
    "{place}: {actor} {verb} {thing} {time}",
    "{time}, {actor} from {place} {verb} {thing}",
    "Why the {place} {actor} {verb} {thing}",
    "{thing}: {actor} from {place} {verb} it {time}",
];

/// Abstracts, one sentence each.
const ABSTRACTS: &[&str] = &[
    "{the actor} in {place} {verb} {the thing}, {tail}.",
    "In {place}, {the actor} {verb} {the thing} {time}, {tail}.",
    "It is all about {the thing}, says {the actor} in {place}, {tail}.",
    "{time}, {the actor} came to {place} because of {the thing}, {tail}.",
];

/// How many rows each file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSize {
    /// Rows of `train/news.tsv`.
    pub train: usize,
    /// Rows of `dev/news.tsv`.
    pub dev: usize,
}

impl Default for SampleSize {
    /// 3000 training rows and 600 development rows.
    fn default() -> Self {
        Self { train: 3000, dev: 600 }
    }
}

/// Where [`write()`] put the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `<folder>/train/news.tsv`.
    pub train: PathBuf,
    /// `<folder>/dev/news.tsv`.
    pub dev: PathBuf,
    /// Number of topics, the labels of the corpus.
    pub topics: usize,
}

/// Writes the corpus of `seed` under `folder`, replacing one that is there.
///
/// Each file appears whole or not at all.
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
/// [`DataError::Write`] if a file cannot be written.
pub fn write(folder: &Path, seed: u64, size: SampleSize) -> Result<Sample, DataError> {
    let sample = Sample {
        train: folder.join("train").join("news.tsv"),
        dev: folder.join("dev").join("news.tsv"),
        topics: TOPICS.len(),
    };
    for (path, split, rows) in [(&sample.train, Split::Train, size.train), (&sample.dev, Split::Dev, size.dev)] {
        crate::atomic::write(path, |file| (0..rows).try_for_each(|row| writeln!(file, "{}", line(seed, split, row))))
            .map_err(|source| DataError::Write { path: path.clone(), source })?;
    }
    Ok(sample)
}

#[derive(Clone, Copy)]
enum Split {
    Train,
    Dev,
}

impl Split {
    fn own(self, words: &Words) -> &'static [&'static str] {
        match self {
            Split::Train => words.train,
            Split::Dev => words.dev,
        }
    }
}

/// One row of `news.tsv`: id, category, subcategory, title, abstract, url and two lists of entities, which stay empty.
fn line(seed: u64, split: Split, row: usize) -> String {
    let mut stream = Stream::new(mix(&[seed, split as u64, row as u64]));
    let topic = stream.below(TOPICS.len() as u64) as usize;
    let title = fill(TITLES, topic, split, &mut stream);
    let summary = fill(ABSTRACTS, topic, split, &mut stream);
    let wrong = stream.unit() < NOISE;
    let label = if wrong { another(topic, &mut stream) } else { &TOPICS[topic] }.name;
    let letter = match split {
        Split::Train => 'T',
        Split::Dev => 'D',
    };
    format!("{letter}{row}\t{label}\t{label}\t{title}\t{summary}\t\t[]\t[]")
}

/// A pattern with every slot filled, beginning with a capital.
fn fill(patterns: &[&'static str], topic: usize, split: Split, stream: &mut Stream) -> String {
    let mut text = String::new();
    let mut rest = pick(stream, patterns);
    while let Some((before, after)) = rest.split_once('{') {
        let (slot, after) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        match slot {
            "actor" => text.push_str(content(topic, split, stream, Slot::Actor)),
            "thing" => text.push_str(content(topic, split, stream, Slot::Thing)),
            "the actor" => push_with_article(&mut text, content(topic, split, stream, Slot::Actor)),
            "the thing" => push_with_article(&mut text, content(topic, split, stream, Slot::Thing)),
            "place" => text.push_str(pick(stream, PLACES)),
            "time" => text.push_str(pick(stream, TIMES)),
            "verb" => text.push_str(pick(stream, VERBS)),
            _ => text.push_str(pick(stream, TAILS)),
        }
        rest = after;
    }
    text.push_str(rest);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

#[derive(Clone, Copy)]
enum Slot {
    Actor,
    Thing,
}

impl Slot {
    fn of(self, topic: &'static Topic) -> &'static Words {
        match self {
            Slot::Actor => &topic.actors,
            Slot::Thing => &topic.things,
        }
    }
}

/// The word that fills a slot: of no topic, of another, or of the topic itself.
fn content(topic: usize, split: Split, stream: &mut Stream, slot: Slot) -> &'static str {
    let draw = stream.unit();
    if draw < PLAIN {
        return pick(stream, if matches!(slot, Slot::Actor) { ANYONE } else { ANYTHING });
    }
    let stray = draw < PLAIN + STRAY;
    let words = slot.of(if stray { another(topic, stream) } else { &TOPICS[topic] });
    let known = stream.unit() < BOTH / (1.0 - PLAIN - STRAY);
    pick(stream, if known { words.both } else { split.own(words) })
}

fn pick(stream: &mut Stream, words: &[&'static str]) -> &'static str {
    stream.choose::<&str>(words)
}

fn another(topic: usize, stream: &mut Stream) -> &'static Topic {
    let shift = 1 + stream.below(TOPICS.len() as u64 - 1) as usize;
    &TOPICS[(topic + shift) % TOPICS.len()]
}

/// Names of people and companies go without an article.
fn push_with_article(text: &mut String, word: &str) {
    if !word.starts_with(char::is_uppercase) {
        text.push_str("the ");
    }
    text.push_str(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_stands_in_two_groups_or_two_topics() {
        let mut seen = std::collections::HashMap::new();
        for topic in TOPICS {
            for words in [&topic.actors, &topic.things] {
                for word in [words.both, words.train, words.dev].concat() {
                    assert_eq!(seen.insert(word.to_lowercase(), topic.name), None, "{word}");
                }
            }
        }
        assert_eq!((TOPICS.len(), seen.len()), (14, 560));
    }

    #[test]
    fn the_stated_share_of_labels_is_wrong() {
        // With the label drawn last, a row's text is the same with or without the noise; so count labels that differ
        // from the topic the stream began with.
        let rows = 20_000;
        let wrong = (0..rows).filter(|&row| {
            let mut stream = Stream::new(mix(&[1, Split::Train as u64, row as u64]));
            let topic = &TOPICS[stream.below(TOPICS.len() as u64) as usize];
            line(1, Split::Train, row).split('\t').nth(1) != Some(topic.name)
        });
        let share = wrong.count() as f64 / rows as f64;
        assert!((share - NOISE).abs() < 0.005, "{share}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write(file.path(), 0, SampleSize { train: 1, dev: 1 }).unwrap_err();
        assert!(error.to_string().ends_with("train/news.tsv: cannot be written"), "{error}");
    }
}
