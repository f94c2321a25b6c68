//! The judgements of a file that could not be used.

use std::fmt;

use crate::read::Skipped;

/// Counts of the judgements that could not be used, or only in part.
///
/// Its display form is for users: `judgements of unknown documents: 3; repeated judgements: 1`, or `nothing skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Judgements for a query that is not among the queries.
    pub no_query: u64,
    /// Judgements of a document that is not in the corpus, for a known query. Training ignores them; the relevant ones
    /// are in [`Judged::missing`](super::Judged::missing).
    pub no_document: u64,
    /// Judgements of a pair that is judged again later; the last one counts, as in BEIR's loader.
    pub repeated: u64,
    /// Queries without a relevant document in the corpus.
    pub none_relevant: u64,
    /// Unusable rows.
    pub skipped: Skipped,
}

impl ReadReport {
    /// Returns true if everything could be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the report without the judgements that an evaluation over all judgements, such as trec_eval's, does use:
    /// those of documents that the corpus lacks, and of queries without a relevant document.
    #[must_use]
    pub fn unused(&self) -> Self {
        Self { no_document: 0, none_relevant: 0, ..self.clone() }
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.skipped.count() > 0 {
            write!(f, "rows {}", self.skipped)?;
            separator = "; ";
        }
        for (what, count) in [
            ("judgements for unknown queries", self.no_query),
            ("judgements of unknown documents", self.no_document),
            ("repeated judgements", self.repeated),
            ("queries without a relevant document", self.none_relevant),
        ] {
            if count > 0 {
                write!(f, "{separator}{what}: {count}")?;
                separator = "; ";
            }
        }
        if separator.is_empty() { f.write_str("nothing skipped") } else { Ok(()) }
    }
}
