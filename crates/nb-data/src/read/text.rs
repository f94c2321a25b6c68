//! The texts of an article, out of a row's fields.

use super::skipped::Reason;

/// The texts of an article: if only the second is there, it takes the place of the first.
pub(super) fn texts<'a>(first: Option<&'a str>, second: Option<&'a str>) -> Result<(&'a str, Option<&'a str>), Reason> {
    match (first, second) {
        (Some(first), second) => Ok((first, second)),
        (None, Some(second)) => Ok((second, None)),
        (None, None) => Err(Reason::NoText),
    }
}

/// A field without the white space around it, if anything but white space and control characters is in it.
pub(super) fn meaningful(field: &str) -> Option<&str> {
    let field = field.trim();
    field.contains(|c: char| !c.is_control() && !c.is_whitespace()).then_some(field)
}
