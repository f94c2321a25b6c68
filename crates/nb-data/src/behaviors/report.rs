//! The lines and articles of a behaviors file that could not be used.

use std::fmt;

use crate::read::Skipped;

/// Counts of the entries of a behaviors file that are not in [`Behaviors`](super::Behaviors) or occur twice.
///
/// Its display form is for users: `1 without a candidate, first on line 7; unknown articles in histories: 12`, or
/// `nothing skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Unusable lines.
    pub skipped: Skipped,
    /// Entries of histories that are not among the articles; they are skipped.
    pub unknown_history: u64,
    /// Candidates that are not among the articles; their row is [`UNKNOWN`](super::UNKNOWN).
    pub unknown_candidates: u64,
    /// Impressions whose reader is not in the file of histories; their histories are empty.
    pub readers_without_history: u64,
    /// Rows of the file of histories with a reader of an earlier row; they are skipped.
    pub repeated_readers: u64,
    /// Clicked articles that are not among the candidates of their impression; they are skipped.
    pub clicks_not_shown: u64,
    /// Impressions with the id of an earlier one; they are used.
    pub repeated_ids: u64,
    /// Candidates that occur earlier in the same impression; they are used.
    pub repeated_candidates: u64,
}

impl ReadReport {
    /// Returns true if everything could be used and nothing occurs twice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.skipped.count() > 0 {
            write!(f, "{}", self.skipped)?;
            separator = "; ";
        }
        for (count, what) in [
            (self.unknown_history, "unknown articles in histories"),
            (self.unknown_candidates, "unknown candidates"),
            (self.readers_without_history, "impressions of readers without a history"),
            (self.repeated_readers, "rows of histories with a repeated reader"),
            (self.clicks_not_shown, "clicked articles that were not shown"),
            (self.repeated_ids, "impressions with a repeated id"),
            (self.repeated_candidates, "candidates repeated in their impression"),
        ] {
            if count > 0 {
                write!(f, "{separator}{what}: {count}")?;
                separator = "; ";
            }
        }
        if separator.is_empty() { f.write_str("nothing skipped") } else { Ok(()) }
    }
}
