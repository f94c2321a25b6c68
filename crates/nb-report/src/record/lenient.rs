//! Reading what other versions wrote: a field of another kind counts as absent.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

/// Reads a field; its default where the file holds something else than a `T`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// Reads a list of texts; every other entry as the JSON that it is.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let Value::Array(entries) = Value::deserialize(deserializer)? else { return Ok(None) };
    let text = |entry| match entry {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Some(entries.into_iter().map(text).collect()))
}

/// Reads a list of numbers that keeps the place of an entry that is none.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Option<f64>>>, D::Error> {
    let Value::Array(entries) = Value::deserialize(deserializer)? else { return Ok(None) };
    Ok(Some(entries.iter().map(Value::as_f64).collect()))
}
