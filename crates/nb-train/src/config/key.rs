//! Dotted keys of a configuration.

use std::fmt;

/// The full key of a value in a configuration, such as `method.stages[1].weights.soft`.
///
/// As the context of an [`anyhow::Error`], it adds the key to an error that does not know it, such as that of an unreadable
/// file named by the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(String);

impl KeyPath {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its ancestors, nearest first: for `a.b[1]`, `a.b` and `a`.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.0.as_str()), |key| parent(key)).skip(1).map(Self::from)
    }

    /// Returns the same key below `prefix`, which may be empty.
    pub(super) fn below(&self, prefix: &str) -> Self {
        if prefix.is_empty() { self.clone() } else { Self(format!("{prefix}.{self}")) }
    }

    /// Returns the part of this key after `ancestor`: empty if both are equal, `None` if it is not an ancestor.
    pub(super) fn rest_below(&self, ancestor: &Self) -> Option<&str> {
        let rest = self.0.strip_prefix(&ancestor.0)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
    }
}

/// Returns the parent of a key: `a.b[1]` → `a.b` → `a`.
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
    fn ancestors_are_listed_nearest_first() {
        let ancestors = |key: &str| KeyPath::from(key).ancestors().map(|key| key.to_string()).collect::<Vec<_>>();
        assert_eq!(ancestors("method.stages[1].share"), ["method.stages[1]", "method.stages", "method"]);
        assert_eq!(ancestors("device"), [""; 0]);
    }

    #[test]
    fn an_ancestor_ends_at_a_whole_part() {
        let rest = |key: &str, ancestor: &str| KeyPath::from(key).rest_below(&ancestor.into()).map(str::to_owned);
        assert_eq!(rest("method.beta", "method"), Some(".beta".to_owned()));
        assert_eq!(rest("a[1].b", "a"), Some("[1].b".to_owned()));
        assert_eq!(rest("a", "a"), Some(String::new()));
        assert_eq!((rest("method.beta", "method.bet"), rest("a", "b")), (None, None));
    }
}
