//! The error for an invalid value of the configuration. It carries the keys of the value.

use std::fmt;

use super::key::KeyPath;

/// An invalid value of the configuration: its key, the value found, and the reason.
///
/// The error knows keys, not lines; `config::locate` adds the line.
///
/// ```
/// use nb_train::config::ConfigError;
///
/// let error = ConfigError::expected("method.beta", 1.5, "a number from 0 to 1");
/// assert_eq!(error.to_string(), "method.beta is 1.5, expected a number from 0 to 1");
/// let error = ConfigError::conflict("method.beta", 0.15, "method.teacher is frozen").and("method.teacher");
/// assert_eq!(error.to_string(), "method.beta is 0.15, but method.teacher is frozen");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    keys: Vec<KeyPath>,
    found: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// The value itself is not allowed; these values are.
    Expected(String),
    /// The value is not compatible with something else.
    Conflict(String),
}

impl ConfigError {
    /// Makes an error of the form `<key> is <found>, expected <expected>`.
    pub fn expected(key: impl Into<KeyPath>, found: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { keys: vec![key.into()], found: found.to_string(), reason: Reason::Expected(expected.into()) }
    }

    /// Makes an error of the form `<key> is <found>, but <why>`.
    pub fn conflict(key: impl Into<KeyPath>, found: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { keys: vec![key.into()], found: found.to_string(), reason: Reason::Conflict(why.into()) }
    }

    /// Adds another key that takes part in the error. The error is located at the first of its keys that the user gave.
    #[must_use]
    pub fn and(mut self, key: impl Into<KeyPath>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Returns the keys that take part; the message begins with the first.
    pub fn keys(&self) -> &[KeyPath] {
        &self.keys
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, found) = (&self.keys[0], &self.found);
        match &self.reason {
            Reason::Expected(expected) => write!(f, "{key} is {found}, expected {expected}"),
            Reason::Conflict(why) => write!(f, "{key} is {found}, but {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}
