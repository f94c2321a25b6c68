//! The numbers of a line of `metrics.jsonl`, as TensorBoard's scalars.

use serde_json::Value;

/// Keys that hold no scalar of their own.
const SKIPPED: [&str; 4] = ["event", "step", "intervals", "parts"];

/// A number with its tag: `step/terms/hard`, `eval/student/accuracy`.
pub(super) type Scalar = (String, f64);

/// The numbers in a JSON value below `tag`.
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
