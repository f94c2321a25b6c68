//! Unusable rows: the reasons, their counts, and the first line of each.

use std::fmt;

/// The reason why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not UTF-8, or not valid in the encoding of its file.
    InvalidUtf8,
    /// A required column is missing.
    TooFewColumns,
    /// It has more columns than the first row, in a format whose layout depends on the number of columns.
    TooManyColumns,
    /// It is not a JSON object, in a format of JSON lines.
    InvalidJson,
    /// It has no id where one is required.
    NoId,
    /// It has no label where one is required.
    NoLabel,
    /// It has a label that is neither a text nor a whole number nor a truth value.
    InvalidLabel,
    /// A column that says whether it has a label holds something other than 0 and 1.
    InvalidFlag,
    /// Its label is not one of the model's labels.
    UnknownLabel,
    /// It has several labels where one is expected.
    SeveralLabels,
    /// It has no text, or only white space and control characters.
    NoText,
    /// It is an impression without a candidate.
    NoCandidates,
    /// It is an impression with a candidate without a click label, where clicks are required.
    NoClick,
    /// It is a judgement whose score is not a whole number.
    NoScore,
}

impl Reason {
    /// All reasons, in the order in which they are checked and shown.
    pub const ALL: [Self; 14] = [
        Self::InvalidUtf8,
        Self::TooFewColumns,
        Self::TooManyColumns,
        Self::InvalidJson,
        Self::NoId,
        Self::NoLabel,
        Self::InvalidLabel,
        Self::InvalidFlag,
        Self::UnknownLabel,
        Self::SeveralLabels,
        Self::NoText,
        Self::NoCandidates,
        Self::NoClick,
        Self::NoScore,
    ];
}

impl fmt::Display for Reason {
    /// Completes "rows …": `without a label`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidUtf8 => "that are not valid text in their encoding",
            Self::TooFewColumns => "with too few columns",
            Self::TooManyColumns => "with too many columns",
            Self::InvalidJson => "that are not JSON objects",
            Self::NoId => "without an id",
            Self::NoLabel => "without a label",
            Self::InvalidLabel => "with a label that is neither a text nor a whole number",
            Self::InvalidFlag => "with a label column that is neither 0 nor 1",
            Self::UnknownLabel => "with a label that no training row has",
            Self::SeveralLabels => "with several labels",
            Self::NoText => "without text",
            Self::NoCandidates => "without a candidate",
            Self::NoClick => "with a candidate without a click label",
            Self::NoScore => "whose score is not a whole number",
        })
    }
}

/// A row that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedRow {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// The reason why it cannot be used.
    pub reason: Reason,
}

/// The rows skipped for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCount {
    /// Number of rows.
    pub rows: u64,
    /// The line of the first, counted from 1; 0 if there is none.
    pub first_line: u64,
}

/// The skipped rows of a file, counted by reason.
///
/// Its display form is for users: `2 without a label, first on line 7; 1 without text, first on line 12`, or
/// `none skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// In the order of [`Reason::ALL`].
    counts: [ReasonCount; Reason::ALL.len()],
}

impl Skipped {
    /// Counts a row. Rows must be added in the order of the file.
    pub fn add(&mut self, row: SkippedRow) {
        let count = &mut self.counts[row.reason as usize];
        if count.rows == 0 {
            count.first_line = row.line;
        }
        count.rows += 1;
    }

    /// Returns the number of skipped rows.
    #[must_use]
    pub fn count(&self) -> u64 {
        // Counts may come from a file, which may contain any number.
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(count.rows))
    }

    /// Returns the rows skipped for `reason`, or `None` if there are none.
    #[must_use]
    pub fn by_reason(&self, reason: Reason) -> Option<ReasonCount> {
        Some(self.counts[reason as usize]).filter(|count| count.rows > 0)
    }

    /// Returns the counts, to be written to a file.
    #[cfg(feature = "tokenize")]
    pub(crate) fn counts(&self) -> [ReasonCount; Reason::ALL.len()] {
        self.counts
    }

    /// Restores counts that were read from a file.
    #[cfg(feature = "tokenize")]
    pub(crate) fn from_counts(counts: [ReasonCount; Reason::ALL.len()]) -> Self {
        Self { counts }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for reason in Reason::ALL {
            if let Some(ReasonCount { rows, first_line }) = self.by_reason(reason) {
                write!(f, "{separator}{rows} {reason}, first on line {first_line}")?;
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
        assert_eq!(skipped.by_reason(Reason::NoLabel), Some(ReasonCount { rows: 2, first_line: 7 }));
        assert_eq!(skipped.by_reason(Reason::InvalidUtf8), None);
        assert_eq!(skipped.to_string(), "2 without a label, first on line 7; 1 without text, first on line 9");
    }
}
