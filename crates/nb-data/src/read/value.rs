//! A value of a JSON object or a Parquet column, as far as articles need it.

use std::borrow::Cow;

use super::skipped::Reason;

/// A value that may become a text, an id or a label.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value<'a> {
    /// Missing or null.
    #[default]
    Missing,
    /// Of a kind that is never used, such as an object.
    Other,
    Text(Cow<'a, str>),
    Whole(i128),
    Real(f64),
    Bool(bool),
    List(Vec<Value<'a>>),
}

impl Value<'_> {
    /// The longest list of labels; a longer one is never used.
    pub(crate) const MOST_LABELS: usize = 1 << 16;

    /// Returns a text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns an id: a text, or the digits of a whole number, which may be stored as a fraction: a column of whole numbers
    /// of which one is missing is one of fractions in many programs.
    pub(crate) fn id(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Whole(number) => Some(number.to_string().into()),
            Self::Real(number) => Some(whole(*number)?.to_string().into()),
            _ => None,
        }
    }

    /// Returns a label: a text, the digits of a whole number, or `true` or `false`.
    pub(crate) fn label(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Bool(true) => Some("true".into()),
            Self::Bool(false) => Some("false".into()),
            other => other.id(),
        }
    }

    /// Returns the truth of a flag: 0, 1, true or false, as a number or a text. A missing flag is not set.
    pub(crate) fn flag(&self) -> Result<bool, Reason> {
        match self {
            Self::Missing => Ok(false),
            Self::Bool(flag) => Ok(*flag),
            Self::Whole(0) => Ok(false),
            Self::Whole(1) => Ok(true),
            Self::Real(number) if *number == 0.0 => Ok(false),
            Self::Real(number) if *number == 1.0 => Ok(true),
            Self::Text(text) => match text.trim() {
                "" | "0" | "0.0" => Ok(false),
                "1" | "1.0" => Ok(true),
                text if text.eq_ignore_ascii_case("false") => Ok(false),
                text if text.eq_ignore_ascii_case("true") => Ok(true),
                _ => Err(Reason::InvalidFlag),
            },
            _ => Err(Reason::InvalidFlag),
        }
    }
}

/// Returns the number if it is whole, and so small that no other whole number is stored as the same fraction.
fn whole(number: f64) -> Option<i64> {
    const MOST: f64 = (1_u64 << 53) as f64;
    (number.fract() == 0.0 && number.abs() < MOST).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_fractions_are_whole_numbers() {
        let label = |number| Value::Real(number).label().map(Cow::into_owned);
        for (number, text) in [(1.0, "1"), (-0.0, "0"), (-3.0, "-3"), (9_007_199_254_740_991.0, "9007199254740991")] {
            assert_eq!(label(number).as_deref(), Some(text));
        }
        for number in [1.5, f64::NAN, f64::INFINITY, 9_007_199_254_740_992.0, 1e300] {
            assert_eq!(label(number), None, "{number}");
        }
    }
}
