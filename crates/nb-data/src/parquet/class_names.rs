//! The names of labels that Hugging Face's `datasets` stores as numbers.
//!
//! `datasets` writes its features as JSON under the key `huggingface` of a file's metadata:
//! `{"info": {"features": {"label": {"names": ["sport", "world"], "_type": "ClassLabel"}}}}`. A list is
//! `{"feature": …, "_type": "List"}`, or `Sequence` in older files, or `[…]`; a struct is an object without `_type`.

use serde_json::Value;

/// The key of the features in a file's metadata.
pub(super) const KEY: &str = "huggingface";

/// Returns the names of the labels of a column, given as the names from the outermost struct to the column itself.
pub(super) fn class_names(metadata: &str, column: &[String]) -> Option<Vec<String>> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    let mut feature = metadata.get("info")?.get("features")?;
    for name in column {
        feature = feature.get(name)?;
    }
    while let Some(entry) = feature.get("feature").or_else(|| feature.get(0)) {
        feature = entry;
    }
    if feature.get("_type")?.as_str()? != "ClassLabel" {
        return None;
    }
    feature.get("names")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_labels_are_found_by_their_columns() {
        let label = r#"{"names": ["sport", "world"], "_type": "ClassLabel"}"#;
        let features = format!(
            r#"{{"info": {{"features": {{"a": {label}, "m": {{"b": {label}}}, "list": {{"feature": {label}, "_type": "List"}},
            "old": [{label}], "text": {{"dtype": "string", "_type": "Value"}}, "bad": {{"names": [1], "_type": "ClassLabel"}}}}}}}}"#
        );
        let found = |column: &[&str]| {
            let column: Vec<String> = column.iter().map(|name| (*name).to_owned()).collect();
            class_names(&features, &column).map(|names| names.join(" "))
        };
        for column in [&["a"][..], &["m", "b"], &["list"], &["old"]] {
            assert_eq!(found(column).as_deref(), Some("sport world"), "{column:?}");
        }
        for column in [&["text"][..], &["bad"], &["m"], &["x"], &[]] {
            assert_eq!(found(column), None, "{column:?}");
        }
        assert_eq!(class_names("{", &["a".into()]), None);
    }
}
