//! The texts of the sample's articles: sentences with slots, filled by topic.
//!
//! There are two kinds. In the topic corpus ([`line`]), title and abstract are drawn independently and share only the
//! topic. A [`Story`] tells one event twice, so that its abstract can be found by its title.

use super::words::{ANYONE, ANYTHING, PLACES, TAILS, TIMES, TOPICS, Topic, VERBS, Words};
use crate::random::{Stream, mix};

/// Share of rows with the label of another topic, in both splits.
const NOISE: f64 = 0.03;
/// Probability that a slot for an actor or a thing gets a word of no topic.
const PLAIN: f64 = 0.24;
/// Probability that such a slot gets a word of another topic.
const STRAY: f64 = 0.08;
/// Probability that such a slot gets a word of the topic that both splits share. Otherwise it gets a word that only its
/// split has.
const BOTH: f64 = 0.33;
/// The same probability in stories. It is lower, so that stories must be told apart by their meaning.
const STORY_BOTH: f64 = 0.26;

/// Separates the randomness of stories from that of the topic corpus.
const STORY: u64 = 0x73_74_6F_72_79; // "story"

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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    Train,
    Dev,
}

impl Split {
    /// Returns the first letter of article ids.
    pub(super) fn letter(self) -> char {
        match self {
            Split::Train => 'T',
            Split::Dev => 'D',
        }
    }

    fn exclusive(self, words: &Words) -> &'static [&'static str] {
        match self {
            Split::Train => words.train,
            Split::Dev => words.dev,
        }
    }
}

/// Returns a row of the topic corpus.
pub(super) fn line(seed: u64, split: Split, row: usize) -> String {
    let mut stream = Stream::new(mix(&[seed, split as u64, row as u64]));
    let topic = stream.below(TOPICS.len() as u64) as usize;
    let title = fill(TITLES, &mut stream, |slot, stream| word(topic, split, BOTH, slot, stream));
    let summary = fill(ABSTRACTS, &mut stream, |slot, stream| word(topic, split, BOTH, slot, stream));
    let wrong = stream.unit() < NOISE;
    let label = if wrong { another(topic, &mut stream) } else { &TOPICS[topic] }.name;
    news_row(split, row, label, &title, &summary)
}

/// An event, told by a headline and by a text that repeats only some of its words.
pub(super) struct Story {
    /// Position in the topics.
    pub(super) topic: usize,
    title: String,
    text: String,
}

impl Story {
    pub(super) fn new(seed: u64, split: Split, row: usize) -> Self {
        let mut stream = Stream::new(mix(&[seed, split as u64, row as u64, STORY]));
        let topic = stream.below(TOPICS.len() as u64) as usize;
        let headline = Slot::ALL.map(|slot| word(topic, split, STORY_BOTH, slot, &mut stream));
        let title = fill(TITLES, &mut stream, |slot, _| headline[slot as usize]);
        let text = fill(ABSTRACTS, &mut stream, |slot, stream| match stream.unit() < slot.repetition() {
            true => headline[slot as usize],
            false => word(topic, split, STORY_BOTH, slot, stream),
        });
        Self { topic, title, text }
    }

    /// Returns the row of `news.tsv`.
    pub(super) fn line(&self, split: Split, row: usize) -> String {
        news_row(split, row, TOPICS[self.topic].name, &self.title, &self.text)
    }
}

/// Returns a row of `news.tsv`: id, category, subcategory, title, abstract, and empty url and entity lists.
fn news_row(split: Split, row: usize, label: &str, title: &str, summary: &str) -> String {
    format!("{}{row}\t{label}\t{label}\t{title}\t{summary}\t\t[]\t[]", split.letter())
}

/// A word in braces in a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Actor,
    Thing,
    Place,
    Time,
    Verb,
    Tail,
}

impl Slot {
    const ALL: [Self; 6] = [Self::Actor, Self::Thing, Self::Place, Self::Time, Self::Verb, Self::Tail];

    fn named(name: &str) -> Self {
        match name {
            "actor" => Self::Actor,
            "thing" => Self::Thing,
            "place" => Self::Place,
            "time" => Self::Time,
            "verb" => Self::Verb,
            _ => Self::Tail,
        }
    }

    /// Returns the probability that a story's text repeats the word of its headline.
    fn repetition(self) -> f64 {
        match self {
            Self::Place | Self::Time => 0.7,
            Self::Actor | Self::Thing => 0.4,
            Self::Verb | Self::Tail => 0.0,
        }
    }
}

/// Fills every slot of a random pattern; the result begins with a capital letter.
fn fill(
    patterns: &[&'static str],
    stream: &mut Stream,
    mut word: impl FnMut(Slot, &mut Stream) -> &'static str,
) -> String {
    let mut text = String::new();
    let mut rest = pick(stream, patterns);
    while let Some((before, after)) = rest.split_once('{') {
        let (slot, after) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        match slot.strip_prefix("the ") {
            Some(slot) => push_with_article(&mut text, word(Slot::named(slot), stream)),
            None => text.push_str(word(Slot::named(slot), stream)),
        }
        rest = after;
    }
    text.push_str(rest);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Draws a word for a slot. For actors and things, `both` is the probability of a word that both splits share.
fn word(topic: usize, split: Split, both: f64, slot: Slot, stream: &mut Stream) -> &'static str {
    let words_of: fn(&'static Topic) -> &'static Words = match slot {
        Slot::Place => return pick(stream, PLACES),
        Slot::Time => return pick(stream, TIMES),
        Slot::Verb => return pick(stream, VERBS),
        Slot::Tail => return pick(stream, TAILS),
        Slot::Actor => |topic| &topic.actors,
        Slot::Thing => |topic| &topic.things,
    };
    let draw = stream.unit();
    if draw < PLAIN {
        return pick(stream, if slot == Slot::Actor { ANYONE } else { ANYTHING });
    }
    let stray = draw < PLAIN + STRAY;
    let words = words_of(if stray { another(topic, stream) } else { &TOPICS[topic] });
    let known = stream.unit() < both / (1.0 - PLAIN - STRAY);
    pick(stream, if known { words.both } else { split.exclusive(words) })
}

fn pick(stream: &mut Stream, words: &[&'static str]) -> &'static str {
    stream.choose::<&str>(words)
}

fn another(topic: usize, stream: &mut Stream) -> &'static Topic {
    let shift = 1 + stream.below(TOPICS.len() as u64 - 1) as usize;
    &TOPICS[(topic + shift) % TOPICS.len()]
}

/// Appends a word with its article; names of people and companies take none.
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
    fn no_word_is_in_two_groups_or_two_topics() {
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
    fn the_share_of_wrong_labels_is_as_stated() {
        // The label is drawn last, so the noise does not affect a row's text. Count the labels that differ from the
        // topic, which is drawn first.
        let rows = 20_000;
        let wrong = (0..rows).filter(|&row| {
            let mut stream = Stream::new(mix(&[1, Split::Train as u64, row as u64]));
            let topic = &TOPICS[stream.below(TOPICS.len() as u64) as usize];
            line(1, Split::Train, row).split('\t').nth(1) != Some(topic.name)
        });
        let share = wrong.count() as f64 / rows as f64;
        assert!((share - NOISE).abs() < 0.005, "{share}");
    }
}
