//! Evaluations: metrics by name with their intervals, over all rows and over parts of them.

use serde::de::Deserializer;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Named;
use super::lenient::or_default;

/// A number that other versions wrote beside the metrics.
const NOT_A_METRIC: &str = "hidden";

/// The key of [`Scores::intervals`].
const INTERVALS: &str = "intervals";

/// The measurements of one model on one split, as in `metrics.jsonl` and `summary.json`.
///
/// ```
/// use nb_report::record::Evaluation;
///
/// let text = r#"{"texts":18,"accuracy":0.875,"intervals":{"accuracy":[0.75,1.0]}}"#;
/// let evaluation: Evaluation = serde_json::from_str(text)?;
/// assert_eq!(evaluation.scores.metric("accuracy"), Some(0.875));
/// assert_eq!(serde_json::to_string(&evaluation)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// The scores over all rows.
    #[serde(flatten)]
    pub scores: Scores,
    /// The scores over parts of the rows, by a description of the part.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Named::is_empty")]
    pub parts: Named<Scores>,
    /// Numbers of rows that are counted although they are incomplete, by a description.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Named::is_empty")]
    pub counted: Named<u64>,
    /// Numbers of rows that were skipped, by reason.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Named::is_empty")]
    pub left_out: Named<u64>,
}

/// Metrics over a set of rows. In JSON, the number of rows (under its unit) and the metrics are keys of one object.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scores {
    /// The number of rows: `"texts": 18`.
    #[serde(flatten)]
    pub rows: Option<Rows>,
    /// Metrics by name, e.g. `accuracy` or `ndcg@10`, in the order of reports; the higher, the better.
    #[serde(flatten)]
    pub metrics: Named<f64>,
    /// The intervals of the metrics that have one. Without any interval, the JSON of an evaluation has no such key, and
    /// the JSON of a part has an empty object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Named<Interval>>,
}

/// A number of rows and their unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// The unit in the plural, such as `texts` or `queries`. Each task has its own.
    pub unit: String,
    /// The number of rows.
    pub count: u64,
}

/// The 95 % interval of a metric; `[low, high]` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Scores {
    /// Returns a metric if it is present and finite.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied().filter(|value| value.is_finite())
    }

    /// Returns the interval of a metric if it is present and finite.
    #[must_use]
    pub fn interval(&self, metric: &str) -> Option<Interval> {
        let interval = *self.intervals.as_ref()?.get(metric)?;
        (interval.low.is_finite() && interval.high.is_finite()).then_some(interval)
    }
}

/// Reads the number of rows from the first entry with a whole number. Metrics are written with a decimal point, so their
/// numbers are not whole numbers in JSON, not even that of an accuracy of 1.0.
impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Named::<Value>::deserialize(deserializer)?;
        let numbers = || all.iter().filter(|(name, _)| *name != NOT_A_METRIC);
        let rows = numbers().find_map(|(unit, value)| Some(Rows { unit: unit.to_owned(), count: value.as_u64()? }));
        let is_unit = |name: &str| rows.as_ref().is_some_and(|rows| rows.unit == name);
        let metrics = numbers().filter(|(name, _)| !is_unit(name));
        let intervals = all.get(INTERVALS).map(Named::deserialize);
        Ok(Self {
            metrics: metrics.filter_map(|(name, value)| Some((name, value.as_f64()?))).collect(),
            intervals: intervals.and_then(Result::ok),
            rows,
        })
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.unit, &self.count)?;
        map.end()
    }
}

impl From<[f64; 2]> for Interval {
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}
