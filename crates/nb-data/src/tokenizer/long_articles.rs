//! From the tokens of an article's texts to one sequence, or to windows.

use super::template::Templates;
use super::truncation::{Kept, Truncation};
use super::windows::{Cut, Texts, Windows};
use crate::batch::Tokens;

/// An article as a model reads it: one sequence, or windows.
#[derive(Debug)]
pub struct Sequence {
    /// The tokens.
    pub tokens: Tokens,
    /// True if the text has more tokens.
    pub is_truncated: bool,
}

/// The rules for articles with too many tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LongArticles {
    pub(super) truncation: Truncation,
    pub(super) windows: Option<Windows>,
}

impl LongArticles {
    /// Assembles an article of at most `most` tokens, as one sequence or in windows; `most` must be at least
    /// [`Templates::fewest`], and the size of windows at least [`Templates::smallest_window`].
    pub(super) fn assemble(self, templates: &Templates, first: &[u32], second: &[u32], most: usize) -> Sequence {
        let truncate = |text, room| self.truncation.truncate(text, room, templates.side);
        let room = most.saturating_sub(first.len() + templates.pair.special()).min(second.len());
        let (template, texts, is_truncated) = if room > 0 {
            let texts = Texts { first: Kept::of(first), second: truncate(second, room) };
            (&templates.pair, texts, room < second.len())
        } else {
            let room = most - templates.single.special();
            let texts = Texts { first: truncate(first, room), second: Kept::of(&[]) };
            (&templates.single, texts, room < first.len() || !second.is_empty())
        };
        let length = template.special() + texts.first.len() + texts.second.len();
        match self.windows.filter(|windows| length > windows.size) {
            None => Sequence { tokens: template.fill(texts.first, texts.second), is_truncated },
            Some(windows) => {
                let Cut { tokens, is_truncated: is_cut } = windows.cut(template, &texts, truncate);
                Sequence { tokens, is_truncated: is_truncated || is_cut }
            }
        }
    }
}
