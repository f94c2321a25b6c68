//! The result of an evaluation: metrics with their intervals, the same over parts of the data, and each row's outcome.

use std::borrow::Cow;

use anyhow::Result;
use nb_eval::{Bootstrap, bootstrap_mean};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A metric; higher is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The name in `summary.json`.
    pub name: Cow<'static, str>,
    /// The value.
    pub value: f64,
    /// Low and high end of the 95 % percentile bootstrap interval over the rows, for a metric that is a mean over them.
    pub interval: Option<(f64, f64)>,
}

impl Metric {
    /// Makes a metric without an interval.
    pub fn new(name: &'static str, value: f64) -> Self {
        Self { name: name.into(), value, interval: None }
    }

    /// Computes a mean over rows with its interval.
    ///
    /// # Errors
    /// If there is no row, or a value that is not finite.
    pub fn mean(name: &'static str, values: &[f64]) -> Result<Self> {
        // Enough for two digits of an interval; a run computes several in each evaluation.
        let mean = bootstrap_mean(values, Bootstrap { resamples: 1000, ..Bootstrap::default() })?;
        Ok(Self { name: name.into(), value: mean.mean, interval: Some((mean.low, mean.high)) })
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

/// The values of a metric, one for each row. Stored in checkpoints as a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "(Cow<'static, str>, Vec<f64>)", into = "(Cow<'static, str>, Vec<f64>)")]
pub struct MetricValues {
    /// The name of the metric.
    pub metric: Cow<'static, str>,
    /// The values, whose mean is the metric.
    pub values: Vec<f64>,
}

impl From<(Cow<'static, str>, Vec<f64>)> for MetricValues {
    fn from((metric, values): (Cow<'static, str>, Vec<f64>)) -> Self {
        Self { metric, values }
    }
}

impl From<MetricValues> for (Cow<'static, str>, Vec<f64>) {
    fn from(MetricValues { metric, values }: MetricValues) -> Self {
        (metric, values)
    }
}

/// A count with its description. Stored in checkpoints as a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Cow<'static, str>, u64)", into = "(Cow<'static, str>, u64)")]
pub struct Count {
    /// What is counted, in words: a key of `summary.json`.
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

/// The outcome of each row, by which two models are compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The row of the data behind each entry.
    pub rows: Vec<u32>,
    /// The values of each metric.
    pub values: Vec<MetricValues>,
    /// Classes, for tasks that have them.
    pub classes: Option<Classes>,
}

/// True and predicted classes, one of each per row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// The classes' names, by number.
    pub names: Vec<String>,
    /// The classes of the labels.
    pub truth: Vec<u32>,
    /// The most probable classes.
    pub predicted: Vec<u32>,
    /// The probabilities of the predicted classes.
    pub probability: Vec<f32>,
}

/// The measurements of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of rows that count.
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
}

impl Evaluation {
    /// Returns the value of a metric over all rows.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }

    /// Formats the metrics on one line.
    pub fn line(&self) -> String {
        let each: Vec<String> = self.metrics.iter().map(|m| format!("{} {:.4}", m.name, m.value)).collect();
        each.join(", ")
    }

    /// Converts to JSON: the metrics at the top level, then their intervals, the parts, the counts and the skipped data.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut out = self.measured(self.rows, &self.metrics);
        if !self.parts.is_empty() {
            let mut parts = Map::new();
            for part in &self.parts {
                parts.insert(part.name.clone(), Value::Object(self.measured(part.rows, &part.metrics)));
            }
            out.insert("parts".to_owned(), Value::Object(parts));
        }
        for (key, counts) in [("counted", &self.counted), ("left_out", &self.skipped)] {
            let counts: Map<_, _> = counts.iter().map(|count| (count.name.to_string(), json!(count.count))).collect();
            if !counts.is_empty() {
                out.insert(key.to_owned(), Value::Object(counts));
            }
        }
        out
    }

    /// Converts the metrics over some rows: the number of rows, each metric, and the intervals.
    fn measured(&self, rows: usize, metrics: &[Metric]) -> Map<String, Value> {
        let mut out = Map::from_iter([(self.unit.to_string(), json!(rows))]);
        let mut intervals = Map::new();
        for Metric { name, value, interval } in metrics {
            out.insert(name.to_string(), json!(value));
            if let Some((low, high)) = interval {
                intervals.insert(name.to_string(), json!([low, high]));
            }
        }
        if !intervals.is_empty() {
            out.insert("intervals".to_owned(), Value::Object(intervals));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_counts_are_pairs_in_json() {
        let values = MetricValues { metric: "auc".into(), values: vec![0.5, 1.0] };
        let count = Count::new("impressions of one class", 3);
        assert_eq!(serde_json::to_string(&values).unwrap(), r#"["auc",[0.5,1.0]]"#);
        assert_eq!(serde_json::to_string(&count).unwrap(), r#"["impressions of one class",3]"#);
        assert_eq!(serde_json::from_str::<MetricValues>(r#"["auc",[0.5,1.0]]"#).unwrap(), values);
        assert_eq!(serde_json::from_str::<Count>(r#"["impressions of one class",3]"#).unwrap(), count);
    }
}
