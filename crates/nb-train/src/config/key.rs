//! Dotted keys of a configuration.

use std::fmt;

/// A key of a configuration, from the top of its file: `method.stages[1].weights.soft`.
///
/// As context of an [`anyhow::Error`] it says which key an error belongs to whose own message does not: that of a file
/// that the key names and that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(String);

impl KeyPath {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The keys above it, nearest first: of `a.b[1]` these are `a.b` and `a`.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.0.as_str()), |key| parent(key)).skip(1).map(Self::from)
    }

    /// The same key in a file that has it below `prefix`, which may be empty.
    pub(super) fn within(&self, prefix: &str) -> Self {
        if prefix.is_empty() { self.clone() } else { Self(format!("{prefix}.{self}")) }
    }

    /// The part of this key that follows `ancestor`: nothing if both are the same, `None` if it is not below.
    pub(super) fn rest_below(&self, ancestor: &Self) -> Option<&str> {
        let rest = self.0.strip_prefix(&ancestor.0)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
    }
}

/// `a.b[1]` → `a.b` → `a`.
fn parent(key: &str) -> Option<&str> {
    key.rfind(['.', '[']).map(|end| &key[..end])
}

impl From<&str> for KeyPath {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl From<String> for KeyPath {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_above_are_found_one_by_one() {
        let above = |key: &str| KeyPath::from(key).ancestors().map(|key| key.to_string()).collect::<Vec<_>>();
        assert_eq!(above("method.stages[1].share"), ["method.stages[1]", "method.stages", "method"]);
        assert_eq!(above("device"), [""; 0]);
    }

    #[test]
    fn a_key_is_below_another_by_whole_parts() {
        let rest = |key: &str, above: &str| KeyPath::from(key).rest_below(&above.into()).map(str::to_owned);
        assert_eq!(rest("method.beta", "method"), Some(".beta".to_owned()));
        assert_eq!(rest("a[1].b", "a"), Some("[1].b".to_owned()));
        assert_eq!(rest("a", "a"), Some(String::new()));
        assert_eq!((rest("method.beta", "method.bet"), rest("a", "b")), (None, None));
    }
}
