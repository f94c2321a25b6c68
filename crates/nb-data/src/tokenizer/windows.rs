//! Windows: the sequences into which an article with too many tokens is cut.

use super::template::Template;
use super::truncation::Kept;
use crate::batch::Tokens;

/// The smallest size of windows that has room for a token of each text, whatever the family's special tokens.
pub const MIN_WINDOW: usize = 8;

/// The windows into which an article of more than `size` tokens is cut.
///
/// An article of at most `size` tokens is one sequence, as without windows. Of a longer one, each window is a sequence of
/// its own with special tokens; all but the last have exactly `size` tokens.
///
/// - One text is cut into windows that start `stride` tokens of the text apart, up to the first that contains its last
///   token.
/// - Of two texts, the second is cut in this way, and each window begins with the first text. If the first text leaves less
///   than half of a window, and less than the second text needs, it is truncated to what the second text leaves, or to half
///   of the room if that is more.
///
/// If a window has room for fewer than `stride` tokens of the text that is cut, windows start as many tokens apart as there
/// is room for, so that no token is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Largest number of tokens of a window, special tokens included.
    pub size: usize,
    /// Tokens of the text between the starts of two windows; 1 or more.
    pub stride: usize,
}

/// The texts of an article, as far as they remain.
pub(super) struct Texts<'a> {
    pub(super) first: Kept<'a>,
    /// Empty if there is one text.
    pub(super) second: Kept<'a>,
}

/// The tokens of an article, and whether its first text lost some.
pub(super) struct Cut {
    pub(super) tokens: Tokens,
    pub(super) is_truncated: bool,
}

impl Windows {
    /// Cuts an article of more than `size` tokens; `truncate` shortens its first text.
    pub(super) fn cut<'a>(
        self,
        template: &Template,
        texts: &Texts<'a>,
        truncate: impl FnOnce(&'a [u32], usize) -> Kept<'a>,
    ) -> Cut {
        let room = self.size - template.special();
        let is_pair = texts.second.len() > 0;
        // Of a pair, the first text is complete: it is truncated only after the second has been dropped.
        let first = texts.first.start;
        let (beginning, text) = if is_pair {
            (truncate(first, (room / 2).max(room.saturating_sub(texts.second.len()))), texts.second.to_vec())
        } else {
            (Kept::of(&[]), texts.first.to_vec())
        };
        let is_truncated = is_pair && beginning.len() < first.len();
        let room = room - beginning.len();
        let stride = self.stride.clamp(1, room);
        let mut tokens = Tokens::default();
        let mut start = 0;
        loop {
            let end = (start + room).min(text.len());
            let piece = Kept::of(&text[start..end]);
            let window = if is_pair { template.fill(beginning, piece) } else { template.fill(piece, Kept::of(&[])) };
            if tokens.ids.is_empty() {
                tokens.second_starts = window.second_starts;
            }
            tokens.ids.extend(window.ids);
            if end == text.len() {
                break;
            }
            start += stride;
        }
        if tokens.ids.len() > self.size {
            tokens.window = self.size;
        }
        Cut { tokens, is_truncated }
    }
}
