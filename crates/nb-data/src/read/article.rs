//! A row of a file: an article, or the reason why it was skipped.

use super::skipped::SkippedRow;

/// A news article from a file.
///
/// Nearly every article has one label or none, so the first label has a field of its own and further labels have
/// another, whose empty list allocates nothing. Code for one label per article reads `label` and is not affected by the
/// second field; code for several calls [`Article::labels`]. A list of strings alone would cost an allocation per
/// article, and a list with room for one label would make every reader of `label` handle a list.
///
/// ```
/// use nb_data::read::{Format, LabelRule, Row, articles};
/// use nb_data::read::KeyLayout;
/// let layout = KeyLayout { label: Some("topics".parse::<nb_data::read::KeyPath>()?.into()), ..KeyLayout::text("title")? };
/// let line = r#"{"title": "Rain in Rome", "topics": ["weather", "world"]}"#;
/// let mut rows = articles(line.as_bytes(), "-", &Format::JsonLines(layout), LabelRule::Required)?;
/// let Some(Row::Article(article)) = rows.next().transpose()? else { panic!("an article") };
/// assert_eq!(article.label.as_deref(), Some("weather"));
/// assert_eq!(article.labels().collect::<Vec<_>>(), ["weather", "world"]);
/// # Ok::<(), nb_data::DataError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Article {
    /// The line on which its row begins, counted from 1.
    pub line: u64,
    /// MIND's news id, BEIR's `_id`, or the id that the layout names; `None` in other formats.
    pub id: Option<String>,
    /// The label: the article's topic. The first of several labels.
    pub label: Option<String>,
    /// The labels after the first, in the order of the row.
    pub more_labels: Vec<String>,
    /// The first text, usually the title; never empty.
    pub first: String,
    /// The second text, usually the abstract; never empty if present. If a layout names more than two texts, those after
    /// the first are joined by single spaces, in the layout's order, and missing ones are left out.
    pub second: Option<String>,
}

impl Article {
    /// Returns all labels, in the order of the row.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.label.iter().chain(&self.more_labels).map(String::as_str)
    }
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A usable row.
    Article(Article),
    /// An unusable row.
    Skipped(SkippedRow),
}
