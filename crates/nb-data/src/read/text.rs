//! Turns fields of a row into the texts of an article.

use super::skipped::Reason;

/// Returns the texts of an article: if only the second is present, it becomes the first.
pub(super) fn texts<'a>(first: Option<&'a str>, second: Option<&'a str>) -> Result<(&'a str, Option<&'a str>), Reason> {
    match (first, second) {
        (Some(first), second) => Ok((first, second)),
        (None, Some(second)) => Ok((second, None)),
        (None, None) => Err(Reason::NoText),
    }
}

/// Trims a field; returns `None` if it contains nothing but white space and control characters.
pub(super) fn meaningful(field: &str) -> Option<&str> {
    let field = field.trim();
    field.contains(|c: char| !c.is_control() && !c.is_whitespace()).then_some(field)
}
