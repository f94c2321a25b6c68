//! Click labels of candidates: the rule for missing labels, and the placeholders for unknown values.

/// The row of a candidate that is not among the articles.
pub const UNKNOWN: u32 = u32::MAX;

/// The click label of a candidate without one.
pub const NO_LABEL: u8 = u8::MAX;

/// The rule for candidates without a click label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickRule {
    /// For training and development: an impression with a candidate that lacks `-0` or `-1` cannot be used.
    Required,
    /// For MIND's test set: labels may be missing. A candidate is first looked up unchanged, then without `-0` or `-1`.
    Optional,
}
