//! What is asked of the JSON of a run folder. Whatever is missing or of another kind is simply not there.

use serde_json::Value;

use crate::plot::Series;

/// Units of an evaluation, with what one of them is called.
pub(crate) const UNITS: [(&str, &str); 3] = [("texts", "text"), ("impressions", "impression"), ("queries", "query")];

/// Numbers of a model that are no metric.
const OTHERS: [&str; 6] = ["layers", "parameters", "best_step", "milliseconds_per_text", "texts_per_second", "hidden"];

/// The finite number at `path`.
pub(crate) fn number(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path).as_f64().filter(|number| number.is_finite())
}

/// The text at `path`.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path).as_str()
}

/// What stands at `path`; null where nothing does.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| &value[*key])
}

/// Both ends of the interval of a metric.
pub(crate) fn interval(model: &Value, metric: &str) -> Option<(f64, f64)> {
    let ends = at(model, &["intervals", metric]).as_array()?;
    let [low, high] = ends.as_slice() else { return None };
    Some((low.as_f64()?, high.as_f64()?)).filter(|(low, high)| low.is_finite() && high.is_finite())
}

/// Names of the metrics of what `models` say, in the order of their first mention.
pub(crate) fn metrics<'a>(models: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for model in models {
        let keys = model.as_object().into_iter().flatten();
        let is_unit = |key: &str| UNITS.iter().any(|(unit, _)| *unit == key);
        let keys = keys.filter(|(key, value)| value.is_number() && !OTHERS.contains(&key.as_str()) && !is_unit(key));
        for (key, _) in keys {
            if !names.contains(&key.as_str()) {
                names.push(key);
            }
        }
    }
    names
}

/// How many rows an evaluation is of, in words.
pub(crate) fn rows(evaluation: &Value) -> Option<String> {
    let (key, one) = UNITS.iter().find(|(key, _)| evaluation[*key].is_u64())?;
    Some(super::format::plural(evaluation[*key].as_u64()?, one))
}

/// The keys that the objects at `path` of `lines` have, in the order of their first mention.
pub(crate) fn keys<'a>(lines: &'a [Value], path: &[&str]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (key, _) in lines.iter().filter_map(|line| at(line, path).as_object()).flatten() {
        if !names.contains(&key.as_str()) {
            names.push(key);
        }
    }
    names
}

/// The number at `path` of each of `lines` over their steps.
pub(crate) fn series(lines: &[Value], path: &[&str]) -> Series {
    series_by(lines, |line| number(line, path))
}

/// A number of each of `lines` over their steps; a line without a step is counted on from the one before.
pub(crate) fn series_by(lines: &[Value], value: impl Fn(&Value) -> Option<f64>) -> Series {
    let mut step = 0.0;
    let point = |line: &Value| {
        step = number(line, &["step"]).unwrap_or(step + 1.0);
        (step, value(line).filter(|value| value.is_finite()))
    };
    Series(lines.iter().map(point).collect())
}
