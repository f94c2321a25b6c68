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
    /// The keys of the text: one or two. A value that is not a text counts as missing.
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

/// Checks the places of labels.
pub(super) fn check_label<C>(label: Option<&LabelLayout<C>>, name: &str) -> Result<(), DataError> {
    let problem = match label {
        Some(LabelLayout::Several { separator: Some(separator), .. }) if separator.is_empty() => {
            "the separator of the labels is empty, expected one or more characters"
        }
        Some(LabelLayout::Flags(columns) | LabelLayout::Several { columns, .. }) if columns.is_empty() => {
            "no column of a label found, expected one or more"
        }
        _ => return Ok(()),
    };
    Err(DataError::Unsuitable { file: name.to_owned(), problem })
}

/// Returns the one or two parts of an article's text.
pub(super) fn one_or_two<'a, T: PartialEq + fmt::Display>(
    texts: &'a [T],
    name: &str,
) -> Result<(&'a T, Option<&'a T>), DataError> {
    match texts {
        [first] => Ok((first, None)),
        [first, second] if first != second => Ok((first, Some(second))),
        _ => {
            let found = texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(DataError::TextColumns { file: name.to_owned(), found: format!("[{found}]") })
        }
    }
}
