//! What an evaluation says: metrics by name, their intervals, and the same over parts of the data.

use std::borrow::Cow;

use anyhow::Result;
use nb_eval::{Bootstrap, bootstrap_mean};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A number by name; the higher, the better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// As in `summary.json`.
    pub name: Cow<'static, str>,
    /// The number.
    pub value: f64,
    /// Where it may lie: the 95 % percentile bootstrap interval over the rows, for a metric that is a mean over them.
    pub interval: Option<(f64, f64)>,
}

impl Metric {
    /// A metric without an interval.
    pub fn plain(name: &'static str, value: f64) -> Self {
        Self { name: name.into(), value, interval: None }
    }

    /// A mean over rows with its interval.
    ///
    /// # Errors
    /// If there is no row, or a value that is not finite.
    pub fn mean(name: &'static str, values: &[f64]) -> Result<Self> {
        // Enough for two digits of an interval; a run draws some for each evaluation.
        let mean = bootstrap_mean(values, Bootstrap { resamples: 1000, ..Bootstrap::default() })?;
        Ok(Self { name: name.into(), value: mean.mean, interval: Some((mean.low, mean.high)) })
    }
}

/// A part of the evaluated rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which rows, in words.
    pub name: String,
    /// How many.
    pub rows: usize,
    /// Their metrics.
    pub metrics: Vec<Metric>,
}

/// What became of each row: what two models are compared by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Which row of the data each entry is of.
    pub rows: Vec<u32>,
    /// By metric one number per row, whose mean is the metric.
    pub values: Vec<(Cow<'static, str>, Vec<f64>)>,
    /// Classes, where the task tells them.
    pub classes: Option<Classes>,
}

/// True and predicted classes, one for each row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// The classes' names, by number.
    pub names: Vec<String>,
    /// The label.
    pub truth: Vec<u32>,
    /// The most probable class.
    pub predicted: Vec<u32>,
    /// Its probability.
    pub probability: Vec<f32>,
}

/// What a model achieved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows that count.
    pub rows: usize,
    /// What the rows are called: texts, impressions, queries.
    pub unit: Cow<'static, str>,
    /// Over all rows, in the order of reports.
    pub metrics: Vec<Metric>,
    /// Over parts of them.
    pub parts: Vec<Part>,
    /// Counts that a reader of the metrics should know, in words and as numbers.
    #[serde(default)]
    pub counted: Vec<(Cow<'static, str>, u64)>,
    /// What was left out of it, in words with its number.
    #[serde(rename = "left_out")]
    pub skipped: Vec<(Cow<'static, str>, u64)>,
    /// What became of each row.
    pub outcomes: Outcomes,
}

impl Evaluation {
    /// A metric over all rows.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }

    /// The metrics on one line.
    pub fn line(&self) -> String {
        let each: Vec<String> = self.metrics.iter().map(|m| format!("{} {:.4}", m.name, m.value)).collect();
        each.join(", ")
    }

    /// Metrics at the top, then their intervals, the parts, what is counted among them, and what was left out.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert(self.unit.to_string(), self.rows.into());
        out.extend(values(&self.metrics));
        let intervals = intervals(&self.metrics);
        if !intervals.is_empty() {
            out.insert("intervals".to_owned(), Value::Object(intervals));
        }
        if !self.parts.is_empty() {
            let part = |part: &Part| {
                let mut own = Map::from_iter([(self.unit.to_string(), json!(part.rows))]);
                own.extend(values(&part.metrics));
                own.insert("intervals".to_owned(), Value::Object(self::intervals(&part.metrics)));
                (part.name.clone(), Value::Object(own))
            };
            out.insert("parts".to_owned(), Value::Object(self.parts.iter().map(part).collect()));
        }
        for (key, counts) in [("counted", &self.counted), ("left_out", &self.skipped)] {
            let counts: Map<_, _> = counts.iter().map(|(what, n)| (what.to_string(), json!(n))).collect();
            if !counts.is_empty() {
                out.insert(key.to_owned(), Value::Object(counts));
            }
        }
        out
    }
}

fn values(metrics: &[Metric]) -> Map<String, Value> {
    metrics.iter().map(|m| (m.name.to_string(), json!(m.value))).collect()
}

fn intervals(metrics: &[Metric]) -> Map<String, Value> {
    let ends = |m: &Metric| m.interval.map(|(low, high)| (m.name.to_string(), json!([low, high])));
    metrics.iter().filter_map(ends).collect()
}
