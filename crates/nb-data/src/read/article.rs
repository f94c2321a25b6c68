//! A row of a file: an article, or the reason why it was skipped.

use super::skipped::SkippedRow;

/// A news article from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The line on which its row begins, counted from 1.
    pub line: u64,
    /// MIND's news id or BEIR's `_id`; `None` in other formats.
    pub id: Option<String>,
    /// The label: the article's topic.
    pub label: Option<String>,
    /// The first text, usually the title; never empty.
    pub first: String,
    /// The second text, usually the abstract; never empty if present.
    pub second: Option<String>,
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A usable row.
    Article(Article),
    /// An unusable row.
    Skipped(SkippedRow),
}
