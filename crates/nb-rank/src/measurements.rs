//! The result of an evaluation: metrics with intervals, over all rows and over parts of them, and the outcome of each row.

use std::borrow::Cow;

use nb_eval::{Bootstrap, bootstrap_mean};
use nb_report::record::{self, Interval, Named, Outcomes, Rows, Scores};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::RankError;

/// A metric; higher is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The name in `summary.json`.
    pub name: Cow<'static, str>,
    /// The value.
    pub value: f64,
    /// The 95 % percentile bootstrap interval over the rows, if the metric is a mean over rows.
    pub interval: Option<Interval>,
}

impl Metric {
    /// Makes a metric without an interval.
    pub fn new(name: &'static str, value: f64) -> Self {
        Self { name: name.into(), value, interval: None }
    }

    /// Computes a mean over rows with its interval.
    ///
    /// # Errors
    /// If there are no rows, or if a value is not finite.
    pub fn mean(name: &'static str, values: &[f64]) -> Result<Self, RankError> {
        // Enough resamples for two digits of an interval; a run computes several intervals in each evaluation.
        let mean = bootstrap_mean(values, Bootstrap { resamples: 1000, ..Bootstrap::default() })?;
        Ok(Self { name: name.into(), value: mean.mean, interval: Some(Interval { low: mean.low, high: mean.high }) })
    }
}

/// Metrics over a part of the evaluated rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The name of the part.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Metrics over these rows.
    pub metrics: Vec<Metric>,
}

/// A count with its description. Stored in checkpoints as a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Cow<'static, str>, u64)", into = "(Cow<'static, str>, u64)")]
pub struct Count {
    /// The name of the count, in words: a key of `summary.json`.
    pub name: Cow<'static, str>,
    /// The number.
    pub count: u64,
}

impl Count {
    /// Makes a count.
    pub fn new(name: &'static str, count: u64) -> Self {
        Self { name: name.into(), count }
    }
}

impl From<(Cow<'static, str>, u64)> for Count {
    fn from((name, count): (Cow<'static, str>, u64)) -> Self {
        Self { name, count }
    }
}

impl From<Count> for (Cow<'static, str>, u64) {
    fn from(Count { name, count }: Count) -> Self {
        (name, count)
    }
}

/// The measurements of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// Number of rows that the metrics cover.
    pub rows: usize,
    /// The unit of the rows: texts, impressions, queries.
    pub unit: Cow<'static, str>,
    /// Metrics over all rows, in the order of reports.
    pub metrics: Vec<Metric>,
    /// Metrics over parts of the rows.
    pub parts: Vec<Part>,
    /// Counts that a reader of the metrics should know.
    #[serde(default)]
    pub counted: Vec<Count>,
    /// Counts of skipped data.
    #[serde(rename = "left_out")]
    pub skipped: Vec<Count>,
    /// The outcome of each row.
    pub outcomes: Outcomes,
    /// The threshold of each label by which the labels were decided; empty if a text has one label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f64>,
}

impl Measurements {
    /// Returns the value of a metric over all rows.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }

    /// Formats the metrics on one line.
    pub fn line(&self) -> String {
        let entries: Vec<String> = self.metrics.iter().map(|m| format!("{} {:.4}", m.name, m.value)).collect();
        entries.join(", ")
    }

    /// Returns the evaluation in the form of a run's record, without the outcomes.
    pub fn record(&self) -> record::Evaluation {
        let intervals = intervals(&self.metrics);
        let scores = Scores {
            rows: self.row_count(self.rows),
            metrics: values(&self.metrics),
            intervals: (!intervals.is_empty()).then_some(intervals),
        };
        record::Evaluation {
            scores,
            parts: self.parts.iter().map(|part| (part.name.as_str(), self.part_scores(part))).collect(),
            counted: counts_by_name(&self.counted),
            left_out: counts_by_name(&self.skipped),
        }
    }

    fn part_scores(&self, part: &Part) -> Scores {
        Scores {
            rows: self.row_count(part.rows),
            metrics: values(&part.metrics),
            intervals: Some(intervals(&part.metrics)),
        }
    }

    fn row_count(&self, rows: usize) -> Option<Rows> {
        Some(Rows { unit: self.unit.to_string(), count: rows as u64 })
    }

    /// Returns the entries of the JSON of [`record`](Self::record).
    pub fn to_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self.record()) {
            Ok(Value::Object(entries)) => entries,
            other => unreachable!("an evaluation is a JSON object, found {other:?}"),
        }
    }
}

fn values(metrics: &[Metric]) -> Named<f64> {
    metrics.iter().map(|metric| (metric.name.as_ref(), metric.value)).collect()
}

fn intervals(metrics: &[Metric]) -> Named<Interval> {
    metrics.iter().filter_map(|metric| Some((metric.name.to_string(), metric.interval?))).collect()
}

fn counts_by_name(counts: &[Count]) -> Named<u64> {
    counts.iter().map(|count| (count.name.as_ref(), count.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_pair_in_json() {
        let interval = Some(Interval { low: 0.5, high: 1.0 });
        let metric = Metric { interval, ..Metric::new("accuracy", 0.75) };
        let json = r#"{"name":"accuracy","value":0.75,"interval":[0.5,1.0]}"#;
        assert_eq!(serde_json::to_string(&metric).unwrap(), json);
        assert_eq!(serde_json::from_str::<Metric>(json).unwrap(), metric);
    }

    #[test]
    fn a_count_is_a_pair_in_json() {
        let (count, json) = (Count::new("impressions of one class", 3), r#"["impressions of one class",3]"#);
        assert_eq!(serde_json::to_string(&count).unwrap(), json);
        assert_eq!(serde_json::from_str::<Count>(json).unwrap(), count);
    }
}
