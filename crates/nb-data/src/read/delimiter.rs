//! The text between the fields of a file of separated values.

use std::fmt;
use std::str::FromStr;

use crate::error::DataError;

/// The text between the fields of a file of separated values: a single ASCII character, as in CSV and TSV, or several
/// characters, as in `news_story_!_Rain in Rome`.
///
/// No program quotes fields between several characters, so in such files a quote is text like any other. That holds for a
/// single character that is not ASCII, such as `¦`, too.
///
/// ```
/// use nb_data::read::Delimiter;
/// assert_eq!(",".parse::<Delimiter>()?, Delimiter::COMMA);
/// assert_eq!("_!_".parse::<Delimiter>()?.to_string(), "_!_");
/// assert!("\n".parse::<Delimiter>().is_err());
/// # Ok::<(), nb_data::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Delimiter(Bytes);

#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    One(u8),
    Several(Box<str>),
}

impl Delimiter {
    /// The comma of CSV.
    pub const COMMA: Self = Self(Bytes::One(b','));
    /// The tab of TSV.
    pub const TAB: Self = Self(Bytes::One(b'\t'));

    /// Returns the byte of a delimiter that is a single ASCII character.
    #[must_use]
    pub fn byte(&self) -> Option<u8> {
        match self.0 {
            Bytes::One(byte) => Some(byte),
            Bytes::Several(_) => None,
        }
    }
}

impl FromStr for Delimiter {
    type Err = DataError;

    /// Takes any text without quotes and line breaks.
    fn from_str(text: &str) -> Result<Self, DataError> {
        if text.is_empty() || text.contains(['"', '\r', '\n']) {
            return Err(DataError::Delimiter { found: text.escape_debug().to_string() });
        }
        Ok(Self(match *text.as_bytes() {
            [byte] => Bytes::One(byte),
            _ => Bytes::Several(text.into()),
        }))
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Bytes::One(byte) => write!(f, "{}", char::from(*byte)),
            Bytes::Several(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_ascii_character_is_a_byte() {
        let byte = |text: &str| text.parse::<Delimiter>().unwrap().byte();
        assert_eq!((byte("|"), byte("\t"), byte(";")), (Some(b'|'), Some(b'\t'), Some(b';')));
        assert_eq!((byte("||"), byte("¦"), byte("_!_")), (None, None, None));
        for text in ["", "\"", "a\"b", "\r\n", "a\n"] {
            let error = text.parse::<Delimiter>().unwrap_err().to_string();
            let expected = "expected one or more characters without quotes and line breaks";
            assert!(error.starts_with("the delimiter is '") && error.ends_with(expected), "{error}");
        }
    }
}
