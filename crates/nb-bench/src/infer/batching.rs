//! The size of a call: one title, or many texts.

use crate::cases::ArticleFields;
use crate::report::Unit;

/// Maximum length of a text, in tokens.
pub(super) const MAX_TOKENS: usize = 64;

/// The number of texts per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batching {
    /// One title per call.
    Single,
    /// Many texts per call, in batches of similar length.
    Bulk,
}

impl Batching {
    /// Returns its name in the job of a peer.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Bulk => "bulk",
        }
    }

    /// Returns the fields of an article that are read.
    pub(super) fn fields(self) -> ArticleFields {
        match self {
            Self::Single => ArticleFields::Title,
            Self::Bulk => ArticleFields::TitleAndAbstract,
        }
    }

    /// Returns the unit of results.
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Single => Unit::Milliseconds,
            Self::Bulk => Unit::Texts,
        }
    }
}
