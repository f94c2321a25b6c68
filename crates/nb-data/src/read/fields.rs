//! Turns the values of a row, as JSON lines and Parquet files have them, into an article.

use super::article::Article;
use super::format::LabelRule;
use super::key_path::KeyPath;
use super::label_layout::{LabelPlaces, RowLabels};
use super::layout::{KeyLayout, check_label, first_and_rest};
use super::skipped::Reason;
use super::text::{append, meaningful, texts};
use super::value::Value;
use crate::error::DataError;

/// The rule for rows without an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdRule {
    Required,
    Optional,
}

/// The positions of an article's parts among the values of a row.
#[derive(Debug)]
pub(crate) struct Fields {
    id: Option<usize>,
    id_rule: IdRule,
    label: Option<LabelPlaces>,
    first: usize,
    rest: Vec<usize>,
}

/// The paths of a layout, and the positions of its parts among them.
pub(crate) struct Parts {
    pub(crate) paths: Vec<KeyPath>,
    pub(crate) fields: Fields,
}

impl Parts {
    pub(crate) fn of(layout: &KeyLayout, id_rule: IdRule, name: &str) -> Result<Self, DataError> {
        check_label(layout.label.as_ref(), name)?;
        let (first, rest) = first_and_rest(&layout.text, name)?;
        let mut paths: Vec<KeyPath> = layout.text.clone();
        paths.extend(layout.id.clone());
        let labels = layout.label.iter().flat_map(|label| label.columns());
        paths.extend(labels.cloned());
        let place = |path: &KeyPath| paths.iter().position(|it| it == path).unwrap_or_default();
        let fields = Fields {
            id: layout.id.as_ref().map(place),
            id_rule,
            label: layout
                .label
                .as_ref()
                .map(|label| label.places(|path| Ok::<_, DataError>(place(path)), |path, _| path.to_string()))
                .transpose()?,
            first: place(first),
            rest: rest.iter().map(place).collect(),
        };
        Ok(Self { paths, fields })
    }
}

impl Fields {
    pub(crate) fn has_label(&self) -> bool {
        self.label.is_some()
    }

    /// Makes an article from the values of row `line`, or returns the reason why it cannot be used.
    pub(crate) fn article(&self, line: u64, values: &[Value], labels: LabelRule) -> Result<Article, Reason> {
        let id = self.id.and_then(|place| values[place].id());
        let id = id.as_deref().and_then(meaningful);
        if self.id_rule == IdRule::Required && id.is_none() {
            return Err(Reason::NoId);
        }
        let RowLabels { first: label, more: more_labels } = match &self.label {
            Some(places) => places.read(|place| Ok(&values[place]))?,
            None => RowLabels::default(),
        };
        if labels == LabelRule::Required && label.is_none() {
            return Err(Reason::NoLabel);
        }
        let text = |place: usize| values[place].text().and_then(meaningful);
        let mut second = None;
        self.rest.iter().for_each(|&place| append(&mut second, text(place)));
        let (first, second) = texts(text(self.first).map(str::to_owned), second)?;
        Ok(Article { line, id: id.map(str::to_owned), label, more_labels, first, second })
    }
}
