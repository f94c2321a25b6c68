//! A row of a file: an article, or the reason why there is none.

use super::skipped::SkippedRow;

/// A news article as a file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The line on which its row begins, counted from 1.
    pub line: u64,
    /// MIND's news id, BEIR's `_id`; none in other formats.
    pub id: Option<String>,
    /// Its topic.
    pub label: Option<String>,
    /// The first text, usually the title; never empty.
    pub first: String,
    /// The second text, usually the abstract; never empty where it is there.
    pub second: Option<String>,
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// One that can be used.
    Article(Article),
    /// One that cannot.
    Skipped(SkippedRow),
}
