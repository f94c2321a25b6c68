//! Lenient reading of the records of other versions: a field of another type counts as absent.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

/// Reads a field. Returns the default if the value in the file is not a `T`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// Reads a list of strings. An entry of another type becomes its JSON text.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let Value::Array(entries) = Value::deserialize(deserializer)? else { return Ok(None) };
    let text = |entry| match entry {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Some(entries.into_iter().map(text).collect()))
}

/// Reads a list of numbers. An entry that is not a number becomes `None`.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Option<f64>>>, D::Error> {
    let Value::Array(entries) = Value::deserialize(deserializer)? else { return Ok(None) };
    Ok(Some(entries.iter().map(Value::as_f64).collect()))
}
