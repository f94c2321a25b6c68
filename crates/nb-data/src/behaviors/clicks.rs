//! Click labels of candidates: the rule for missing ones, and the values of unknown ones.

/// The row of a candidate that is not among the articles.
pub const UNKNOWN: u32 = u32::MAX;

/// The click label of a candidate without one.
pub const NO_LABEL: u8 = u8::MAX;

/// The rule for candidates without a click label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickRule {
    /// An impression with a candidate that lacks `-0` or `-1` cannot be used: training and development.
    Required,
    /// Labels may be missing: MIND's test set. A candidate is looked up unchanged first, then without `-0` or `-1`.
    Optional,
}
