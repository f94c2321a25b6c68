//! Layouts of files whose rows are objects with keys: JSON lines and Parquet.

use std::fmt;

use super::key_path::KeyPath;
use super::label_layout::LabelLayout;
use crate::error::DataError;

/// The keys of an article's parts, in JSON lines and Parquet files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    /// The keys of the labels, if there are any. A label is a text, a whole number or a truth value; a list of these is
    /// several labels.
    pub label: Option<LabelLayout<KeyPath>>,
    /// The keys of the text: one or more ([`Article::second`](super::Article::second)). A value that is not a text counts as
    /// missing.
    pub text: Vec<KeyPath>,
    /// The key of the id, if there is one: a text or a whole number. A row may lack it.
    pub id: Option<KeyPath>,
}

impl KeyLayout {
    /// Returns the layout of files with one text, without labels and ids.
    ///
    /// # Errors
    /// If the key is empty or has too many dots.
    pub fn text(key: &str) -> Result<Self, DataError> {
        Ok(Self { label: None, text: vec![key.parse()?], id: None })
    }
}

/// Returns true if a column is named twice.
fn repeats<C: PartialEq>(columns: &[C]) -> bool {
    columns.iter().enumerate().any(|(i, column)| columns[..i].contains(column))
}

/// Checks the places of labels.
pub(super) fn check_label<C: PartialEq>(label: Option<&LabelLayout<C>>, name: &str) -> Result<(), DataError> {
    let problem = match label {
        Some(LabelLayout::Several { separator: Some(separator), .. }) if separator.is_empty() => {
            "the separator of the labels is empty, expected one or more characters"
        }
        Some(LabelLayout::Flags(columns) | LabelLayout::Several { columns, .. }) if columns.is_empty() => {
            "no column of a label found, expected one or more"
        }
        Some(LabelLayout::Flags(columns) | LabelLayout::Several { columns, .. }) if repeats(columns) => {
            "a column of labels is named twice, expected different columns"
        }
        _ => return Ok(()),
    };
    Err(DataError::Unsuitable { file: name.to_owned(), problem })
}

/// Returns the places of an article's first text, and of the texts that make up its second.
pub(super) fn first_and_rest<'a, T: PartialEq + fmt::Display>(
    texts: &'a [T],
    name: &str,
) -> Result<(&'a T, &'a [T]), DataError> {
    match texts {
        [first, rest @ ..] if !repeats(texts) => Ok((first, rest)),
        _ => {
            let found = texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(DataError::TextColumns { file: name.to_owned(), found: format!("[{found}]") })
        }
    }
}
