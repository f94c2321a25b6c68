//! The end at which a tokenizer truncates texts.

/// The end at which long texts are truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    #[default]
    Right,
}

impl Side {
    /// Returns `left` or `right`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }

    /// Truncates `text` at this end.
    pub(super) fn truncate(self, text: &[u32], most: usize) -> &[u32] {
        match self {
            Self::Right => &text[..text.len().min(most)],
            Self::Left => &text[text.len().saturating_sub(most)..],
        }
    }
}
