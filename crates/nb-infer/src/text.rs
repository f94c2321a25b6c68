//! The texts that a model reads.

use std::sync::atomic::{AtomicUsize, Ordering};

use nb_data::read::Article;
use nb_data::tokenizer::Sequence;

/// A text: a headline, or a headline and the text below it.
///
/// ```
/// use nb_infer::Text;
/// assert_eq!(Text::from("Shares fall").second, None);
/// assert_eq!(Text::from(("Shares fall", "Oil prices rose.")).second, Some("Oil prices rose."));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// The first text, such as the title.
    pub first: &'a str,
    /// The second text, such as the abstract.
    pub second: Option<&'a str>,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(first: &'a str) -> Self {
        Self { first, second: None }
    }
}

impl<'a> From<&'a Article> for Text<'a> {
    fn from(article: &'a Article) -> Self {
        Self { first: &article.first, second: article.second.as_deref() }
    }
}

impl<'a> From<(&'a str, &'a str)> for Text<'a> {
    fn from((first, second): (&'a str, &'a str)) -> Self {
        Self { first, second: Some(second) }
    }
}

/// Counts of texts since a model was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextCounts {
    /// All texts.
    pub all: usize,
    /// Texts that were truncated to the longest sequence.
    pub truncated: usize,
}

/// The counts, which all threads add to.
#[derive(Debug, Default)]
pub(crate) struct TextCounter {
    all: AtomicUsize,
    truncated: AtomicUsize,
}

impl TextCounter {
    pub(crate) fn add(&self, sequence: &Sequence) {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.truncated.fetch_add(sequence.is_truncated.into(), Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> TextCounts {
        TextCounts { all: self.all.load(Ordering::Relaxed), truncated: self.truncated.load(Ordering::Relaxed) }
    }
}

/// The most probable topic of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Topic<'a> {
    /// Its label.
    pub label: &'a str,
    /// Its class number, the place of the label among [`Model::labels`](crate::Model::labels).
    pub class: usize,
    /// Its probability.
    pub probability: f32,
}
