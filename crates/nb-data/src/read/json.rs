//! Turns lines of JSON into articles: BEIR's `corpus.jsonl` and `queries.jsonl`.

use serde_json::{Map, Value};

use super::article::Article;
use super::format::Field;
use super::records::Record;
use super::skipped::Reason;
use super::text::{meaningful, texts};

const ID: &str = "_id";
const TITLE: &str = "title";
const TEXT: &str = "text";

/// The keys of an article's texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    first: &'static str,
    second: Option<&'static str>,
}

impl Keys {
    pub(super) const QUERIES: Self = Self { first: TEXT, second: None };

    pub(super) fn corpus(first: Field, second: Option<Field>) -> Self {
        let key = |field| match field {
            Field::Title => TITLE,
            Field::Abstract => TEXT,
        };
        Self { first: key(first), second: second.map(key) }
    }
}

/// Makes an article from a line, or returns the reason why it cannot be used.
///
/// A text that is not a string counts as missing, as `null` does.
pub(super) fn article(record: &Record, keys: &Keys) -> Result<Article, Reason> {
    let text = std::str::from_utf8(&record.bytes).map_err(|_| Reason::InvalidUtf8)?;
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| Reason::InvalidJson)?;
    let id = id(object.get(ID)).ok_or(Reason::NoId)?;
    let field = |key| object.get(key).and_then(Value::as_str).and_then(meaningful);
    let (first, second) = texts(field(keys.first), keys.second.and_then(field))?;
    Ok(Article {
        line: record.line,
        id: Some(id),
        label: None,
        first: first.to_owned(),
        second: second.map(str::to_owned),
    })
}

/// Returns the id: a string, or the digits of a whole number.
fn id(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(id) => meaningful(id).map(str::to_owned),
        Value::Number(id) if !id.is_f64() => Some(id.to_string()),
        _ => None,
    }
}
