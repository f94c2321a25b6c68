//! Rows that cannot be used: why, how many, and where the first of each kind stands.

use std::fmt;

/// Why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not UTF-8.
    InvalidUtf8,
    /// A column that is needed is not there.
    TooFewColumns,
    /// It has more columns than the file has by its first row, where their number says what they hold.
    TooManyColumns,
    /// It is not a JSON object, where each line is one.
    InvalidJson,
    /// It has no id, where ids are required.
    NoId,
    /// Its label is empty, where labels are required.
    NoLabel,
    /// Its label is none of those that the model tells apart.
    UnknownLabel,
    /// Its text is empty, or nothing but white space and control characters.
    NoText,
    /// An impression without a candidate.
    NoCandidates,
    /// An impression with a candidate of which it is not said whether it was clicked, where clicks are required.
    NoClick,
    /// A judgement whose score is not a whole number.
    NoScore,
}

impl Reason {
    /// All reasons, in the order in which they are looked for and shown.
    pub const ALL: [Self; 11] = [
        Self::InvalidUtf8,
        Self::TooFewColumns,
        Self::TooManyColumns,
        Self::InvalidJson,
        Self::NoId,
        Self::NoLabel,
        Self::UnknownLabel,
        Self::NoText,
        Self::NoCandidates,
        Self::NoClick,
        Self::NoScore,
    ];
}

impl fmt::Display for Reason {
    /// Completes "a row …": `without a label`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidUtf8 => "that are not UTF-8",
            Self::TooFewColumns => "with too few columns",
            Self::TooManyColumns => "with too many columns",
            Self::InvalidJson => "that are not JSON objects",
            Self::NoId => "without an id",
            Self::NoLabel => "without a label",
            Self::UnknownLabel => "with a label that no training row has",
            Self::NoText => "without text",
            Self::NoCandidates => "without a candidate",
            Self::NoClick => "with a candidate that lacks -0 or -1",
            Self::NoScore => "whose score is not a whole number",
        })
    }
}

/// A row that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedRow {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// How many rows were left out, and why.
///
/// Its display form is for users: `2 without a label, first on line 7; 1 without text, first on line 12`, or
/// `none skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Per reason of [`Reason::ALL`]: how many rows, and the line of the first (0 if there is none).
    counts: [(u64, u64); Reason::ALL.len()],
}

impl Skipped {
    /// Counts a row. Rows are added in the order of the file.
    pub fn add(&mut self, row: SkippedRow) {
        let (count, first) = &mut self.counts[row.reason as usize];
        if *count == 0 {
            *first = row.line;
        }
        *count += 1;
    }

    /// How many rows were left out, for whatever reason.
    #[must_use]
    pub fn count(&self) -> u64 {
        // Counts come from files too, which may claim any.
        self.counts.iter().fold(0, |sum, (count, _)| sum.saturating_add(*count))
    }

    /// How many rows were left out for `reason`, and the line of the first of them.
    #[must_use]
    pub fn of(&self, reason: Reason) -> Option<(u64, u64)> {
        Some(self.counts[reason as usize]).filter(|(count, _)| *count > 0)
    }

    /// The counts as numbers, for a file.
    #[cfg(feature = "tokenize")]
    pub(crate) fn to_numbers(&self) -> [(u64, u64); Reason::ALL.len()] {
        self.counts
    }

    /// Counts from numbers of a file.
    #[cfg(feature = "tokenize")]
    pub(crate) fn from_numbers(counts: [(u64, u64); Reason::ALL.len()]) -> Self {
        Self { counts }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for reason in Reason::ALL {
            if let Some((count, first)) = self.of(reason) {
                write!(f, "{separator}{count} {reason}, first on line {first}")?;
                separator = "; ";
            }
        }
        if separator.is_empty() { f.write_str("none skipped") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_with_their_first_line() {
        let mut skipped = Skipped::default();
        assert_eq!(skipped.to_string(), "none skipped");
        for (line, reason) in [(7, Reason::NoLabel), (9, Reason::NoText), (12, Reason::NoLabel)] {
            skipped.add(SkippedRow { line, reason });
        }
        assert_eq!(skipped.count(), 3);
        assert_eq!(skipped.of(Reason::NoLabel), Some((2, 7)));
        assert_eq!(skipped.of(Reason::InvalidUtf8), None);
        assert_eq!(skipped.to_string(), "2 without a label, first on line 7; 1 without text, first on line 9");
    }
}
