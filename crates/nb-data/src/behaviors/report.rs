//! What reading behaviors could not use.

use std::fmt;

use crate::read::Skipped;

/// What a file of behaviors holds that is not in [`Behaviors`](super::Behaviors), or is there twice.
///
/// Its display form is for users: `1 without a candidate, first on line 7; 12 in histories not in the news`, or
/// `nothing skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Lines that are no impressions.
    pub skipped: Skipped,
    /// Entries of histories that are not in the news; the histories go without.
    pub unknown_history: u64,
    /// Candidates that are not in the news; their places hold [`UNKNOWN`](super::UNKNOWN).
    pub unknown_candidates: u64,
    /// Impressions with the id of an earlier one; they are kept.
    pub repeated_ids: u64,
    /// Candidates that stand earlier in the same impression already; they are kept.
    pub repeated_candidates: u64,
}

impl ReadReport {
    /// Whether everything could be used, and nothing is there twice.
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
            (self.unknown_history, "in histories not in the news"),
            (self.unknown_candidates, "among candidates not in the news"),
            (self.repeated_ids, "with the id of an earlier impression"),
            (self.repeated_candidates, "among candidates listed again in the same impression"),
        ] {
            if count > 0 {
                write!(f, "{separator}{count} {what}")?;
                separator = "; ";
            }
        }
        if separator.is_empty() { f.write_str("nothing skipped") } else { Ok(()) }
    }
}
