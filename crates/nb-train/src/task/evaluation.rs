//! What an evaluation says: metrics by name, their intervals, and the same over parts of the data.

use std::borrow::Cow;

use anyhow::Result;
use nb_eval::{Bootstrap, bootstrap_mean};
use nb_report::record::{self, Interval, Named, Rows, Scores};
pub use nb_report::record::{Classes, Outcomes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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

    /// Returns the evaluation as a run's record holds it, without the outcomes.
    pub fn record(&self) -> record::Evaluation {
        let intervals = intervals(&self.metrics);
        let scores = Scores {
            rows: self.count(self.rows),
            metrics: values(&self.metrics),
            intervals: (!intervals.is_empty()).then_some(intervals),
        };
        record::Evaluation {
            scores,
            parts: self.parts.iter().map(|part| (part.name.as_str(), self.part(part))).collect(),
            counted: by_description(&self.counted),
            left_out: by_description(&self.skipped),
        }
    }

    fn part(&self, part: &Part) -> Scores {
        Scores {
            rows: self.count(part.rows),
            metrics: values(&part.metrics),
            intervals: Some(intervals(&part.metrics)),
        }
    }

    fn count(&self, rows: usize) -> Option<Rows> {
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
    let interval =
        |metric: &Metric| metric.interval.map(|(low, high)| (metric.name.to_string(), Interval { low, high }));
    metrics.iter().filter_map(interval).collect()
}

fn by_description(counts: &[(Cow<'static, str>, u64)]) -> Named<u64> {
    counts.iter().map(|(description, count)| (description.as_ref(), *count)).collect()
}
