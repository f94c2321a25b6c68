//! The texts that a model reads.

/// A text: a headline, or a headline and the text below it.
///
/// ```
/// use nb_infer::Text;
/// assert_eq!(Text::from("Shares fall").second, None);
/// assert_eq!(Text::from(("Shares fall", "Oil prices rose.")).second, Some("Oil prices rose."));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// The first text, such as the title.
    pub first: &'a str,
    /// The second text, such as the abstract.
    pub second: Option<&'a str>,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(first: &'a str) -> Self {
        Self { first, second: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for Text<'a> {
    fn from((first, second): (&'a str, &'a str)) -> Self {
        Self { first, second: Some(second) }
    }
}
