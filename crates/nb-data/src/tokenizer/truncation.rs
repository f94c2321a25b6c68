//! The part that remains of a text with too many tokens.

use super::side::Side;

/// The part that remains of a text with too many tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// The beginning; the end with a tokenizer whose `truncation_side` is `left`.
    #[default]
    Head,
    /// The beginning and the end, with either `truncation_side`: of room for n tokens, the first ⌈n/4⌉ and the last
    /// n − ⌈n/4⌉. Of 510 tokens, these are 128 and 382, as in Sun et al., "How to Fine-Tune BERT for Text
    /// Classification?" (2019), section 5.3.1.
    HeadTail,
}

/// The beginning and the end of a truncated text, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) start: &'a [u32],
    pub(super) end: &'a [u32],
}

impl<'a> Kept<'a> {
    /// A text that remains in one piece.
    pub(super) fn of(start: &'a [u32]) -> Self {
        Self { start, end: &[] }
    }

    pub(super) fn len(&self) -> usize {
        self.start.len() + self.end.len()
    }

    pub(super) fn to_vec(self) -> Vec<u32> {
        [self.start, self.end].concat()
    }
}

impl Truncation {
    /// Truncates `text` to `most` tokens.
    pub(super) fn truncate(self, text: &[u32], most: usize, side: Side) -> Kept<'_> {
        match self {
            _ if text.len() <= most => Kept::of(text),
            Self::Head => Kept::of(side.truncate(text, most)),
            Self::HeadTail => {
                let start = most.div_ceil(4);
                Kept { start: &text[..start], end: &text[text.len() - (most - start)..] }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_the_beginning_and_the_rest_the_end() {
        let text: Vec<u32> = (0..600).collect();
        let kept = |most| Truncation::HeadTail.truncate(&text, most, Side::Left);
        assert_eq!((kept(510).start.len(), kept(510).end.len()), (128, 382));
        assert_eq!((kept(1).start, kept(1).end), (&[0][..], &[][..]));
        assert_eq!((kept(2).start, kept(2).end), (&[0][..], &[599][..]));
        assert_eq!((kept(5).start, kept(5).end), (&[0, 1][..], &[597, 598, 599][..]));
        assert_eq!((kept(600).len(), kept(600).end.len()), (600, 0));
        assert_eq!(Truncation::Head.truncate(&text, 3, Side::Left).start, [597, 598, 599]);
    }
}
