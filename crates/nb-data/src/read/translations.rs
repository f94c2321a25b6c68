//! Translated titles and abstracts of articles, such as xMIND's for MIND.

use std::path::Path;

use rustc_hash::FxHashMap;

use super::article::Article;
use super::format::Field;
use super::input::Input;
use super::records::{Cut, Record, Records};
use super::text::{meaningful, texts};
use crate::error::DataError;

/// Titles and abstracts by the ids of articles.
#[derive(Debug)]
pub(crate) struct Translations {
    by_id: FxHashMap<Box<str>, Translation>,
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
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let mut records = Records::new(Input::open(path, None)?, &name, Cut::TABS);
        let (mut record, mut by_id) = (Record::default(), FxHashMap::default());
        while records.read(&mut record)? {
            let text = std::str::from_utf8(&record.bytes);
            let field = |place: usize| text.ok()?.get(record.range(place)?).and_then(meaningful);
            let Some(id) = field(0) else { continue };
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
        Ok(Self { by_id })
    }

    /// Replaces the texts of an article, which are the given fields. Returns false if there is no translation; the article
    /// then stays as it is.
    pub(crate) fn apply(&self, article: &mut Article, fields: &[Field]) -> bool {
        let Some(translation) = article.id.as_deref().and_then(|id| self.by_id.get(id)) else { return false };
        let field = |place: usize| match fields.get(place)? {
            Field::Title => translation.title.as_deref(),
            Field::Abstract => translation.summary.as_deref(),
        };
        let Ok((first, second)) = texts(field(0), field(1)) else { return false };
        article.first = first.to_owned();
        article.second = second.map(str::to_owned);
        true
    }
}
