//! Turns fields of a row into the texts of an article.

use super::skipped::Reason;

/// Returns the texts of an article: if only the second is present, it becomes the first.
pub(super) fn texts<T>(first: Option<T>, second: Option<T>) -> Result<(T, Option<T>), Reason> {
    match (first, second) {
        (Some(first), second) => Ok((first, second)),
        (None, Some(second)) => Ok((second, None)),
        (None, None) => Err(Reason::NoText),
    }
}

/// Appends a text to the texts before it, after a space; a missing one changes nothing.
pub(super) fn append(texts: &mut Option<String>, more: Option<&str>) {
    match (texts, more) {
        (_, None) => {}
        (Some(texts), Some(more)) => {
            texts.push(' ');
            texts.push_str(more);
        }
        (texts, Some(more)) => *texts = Some(more.to_owned()),
    }
}

/// Trims a field; returns `None` if it contains nothing but white space and control characters.
pub(super) fn meaningful(field: &str) -> Option<&str> {
    let field = field.trim();
    field.contains(|c: char| !c.is_control() && !c.is_whitespace()).then_some(field)
}
