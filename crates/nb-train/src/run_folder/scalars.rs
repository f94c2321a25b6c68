//! The numbers of a line of `metrics.jsonl`, as TensorBoard scalars.

use serde_json::Value;

/// Keys that are not logged as scalars.
const SKIPPED: [&str; 4] = ["event", "step", "intervals", "parts"];

/// A number with its tag: `step/terms/hard`, `eval/student/accuracy`.
pub(super) type Scalar = (String, f64);

/// Returns the numbers in a JSON value, with tags below `tag`.
pub(super) fn scalars(tag: &str, value: &Value) -> Vec<Scalar> {
    match value {
        Value::Object(map) => {
            let inner = map.iter().filter(|(key, _)| !SKIPPED.contains(&key.as_str()));
            inner.flat_map(|(key, value)| scalars(&format!("{tag}/{key}"), value)).collect()
        }
        Value::Array(list) => {
            (1..).zip(list).flat_map(|(i, value)| scalars(&format!("{tag}/layer_{i}"), value)).collect()
        }
        other => other.as_f64().map(|number| (tag.to_owned(), number)).into_iter().collect(),
    }
}
