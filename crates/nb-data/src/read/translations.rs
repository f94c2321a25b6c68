//! Translated titles and abstracts of articles, such as xMIND's for MIND.

use std::path::Path;

use rustc_hash::FxHashMap;

use super::article::Article;
use super::encoding::Encoding;
use super::format::Field;
use super::input::Input;
use super::records::{Cut, Record, Records};
use super::skipped::{Reason, Skipped, SkippedRow};
use super::text::{meaningful, texts};
use crate::error::DataError;

/// Titles and abstracts by the ids of articles.
#[derive(Debug)]
pub(crate) struct Translations {
    by_id: FxHashMap<Box<str>, Translation>,
    /// Rows that are not valid text or have no id.
    pub(crate) skipped: Skipped,
}

#[derive(Debug)]
struct Translation {
    title: Option<Box<str>>,
    summary: Option<Box<str>>,
}

/// The first column of a header.
const ID: [&str; 3] = ["nid", "news_id", "id"];

impl Translations {
    /// Reads a file of tab-separated ids, titles and abstracts, with or without a header. The first of several rows with
    /// the same id counts.
    pub(crate) fn read(path: &Path, encoding: Option<Encoding>) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let mut records = Records::new(Input::open(path, encoding)?, &name, Cut::TABS);
        let (mut record, mut by_id, mut skipped) = (Record::default(), FxHashMap::default(), Skipped::default());
        while records.read(&mut record)? {
            let mut skip = |reason| skipped.add(SkippedRow { line: record.line, reason });
            let Ok(text) = str::from_utf8(&record.bytes) else {
                skip(Reason::InvalidUtf8);
                continue;
            };
            let field = |place: usize| text.get(record.range(place)?).and_then(meaningful);
            let Some(id) = field(0) else {
                skip(Reason::NoId);
                continue;
            };
            if record.line == 1 && ID.contains(&id) {
                continue;
            }
            let translation = Translation { title: field(1).map(Into::into), summary: field(2).map(Into::into) };
            if translation.title.is_some() || translation.summary.is_some() {
                by_id.entry(id.into()).or_insert(translation);
            }
        }
        if by_id.is_empty() {
            return Err(DataError::Unsuitable {
                file: name,
                problem: "no translation found, expected tab-separated ids, titles and abstracts",
            });
        }
        Ok(Self { by_id, skipped })
    }

    /// Returns the number of translated articles.
    pub(crate) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Replaces the texts of an article, which are the given fields. Returns false if there is no translation; the article
    /// then stays as it is, as does a field without a translation.
    pub(crate) fn apply(&self, article: &mut Article, fields: &[Field]) -> bool {
        let Some(translation) = article.id.as_deref().and_then(|id| self.by_id.get(id)) else { return false };
        let field = |place: usize| match fields.get(place)? {
            Field::Title => translation.title.as_deref(),
            Field::Abstract => translation.summary.as_deref(),
        };
        if field(0).is_none() && field(1).is_none() {
            return false;
        }
        // If only one of two texts is present, nothing tells which one it is.
        let kept = article.second.as_deref().map(|second| [article.first.as_str(), second]);
        let text = |place: usize| field(place).or(kept.map(|kept| kept[place]));
        let Ok((first, second)) = texts(text(0), text(1)) else { return false };
        let (first, second) = (first.to_owned(), second.map(str::to_owned));
        (article.first, article.second) = (first, second);
        true
    }
}
