//! Clicks of candidates: whether they are needed, and the marks of what is not known.

/// In the place of a candidate that is not in the news.
pub const UNKNOWN: u32 = u32::MAX;

/// In the place of the click of a candidate of which it is not said.
pub const NO_LABEL: u8 = u8::MAX;

/// Whether clicks are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickRule {
    /// An impression of which a candidate lacks `-0` or `-1` cannot be used: training and development.
    Required,
    /// They may be missing: MIND's test set. A candidate is looked up as it stands first, and without `-0` or `-1` if
    /// the news do not have it.
    Optional,
}
