//! Keys of JSON objects and columns of Parquet files, possibly nested.

use std::fmt;
use std::str::FromStr;

use crate::error::DataError;

/// A key of a JSON object or a column of a Parquet file; dots lead into nested objects: `meta.title`.
///
/// A key that contains the dot itself has precedence. If several readings of a path exist, the one whose first key is
/// the longest counts, then the one whose second key is the longest, and so on.
///
/// ```
/// use nb_data::read::KeyPath;
/// assert_eq!("meta.title".parse::<KeyPath>()?.to_string(), "meta.title");
/// assert!("".parse::<KeyPath>().is_err());
/// # Ok::<(), nb_data::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPath(Box<str>);

impl KeyPath {
    /// The largest number of dots.
    pub(super) const MOST_DOTS: usize = 32;

    /// Returns a path that a data set prescribes.
    pub(crate) fn fixed(path: &'static str) -> Self {
        Self(path.into())
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyPath {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let dots = text.bytes().filter(|&byte| byte == b'.').count();
        if text.is_empty() || dots > Self::MOST_DOTS {
            return Err(DataError::KeyPath { found: text.chars().take(100).collect() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
