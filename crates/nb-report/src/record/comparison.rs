//! `compare.json`: methods at several depths over several seeds, side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Methods at several depths over several seeds, side by side, as in `compare.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the comparison.
    pub name: String,
    /// `topic`, `recommend` or `retrieve`.
    pub task: String,
    /// The metric of all scores, e.g. `accuracy`.
    pub metric: String,
    /// Label of the baseline. All other rows are tested against the baseline at the same depth.
    pub baseline: String,
    /// The teacher, if the students had one.
    pub teacher: Option<TeacherRow>,
    /// The teacher before any training, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched: Option<TeacherRow>,
    /// One row for each method and depth, in the order of the entries.
    pub rows: Vec<Row>,
    /// The sweeps that chose settings.
    pub sweeps: Vec<Sweep>,
    /// Number of rows (texts, impressions, queries) behind every score.
    pub rows_compared: u64,
    /// Notes for the reader of the table.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Returns the budget of [`Row::at_equal_cost`]: the least processor time of a row, in seconds; `None` if no row has
    /// a cost.
    ///
    /// ```
    /// let comparison: nb_report::Comparison = serde_json::from_str(r#"{
    ///     "name": "depths", "task": "topic", "metric": "accuracy", "baseline": "finetune", "teacher": null,
    ///     "rows": [], "sweeps": [], "rows_compared": 1000, "notes": []}"#)?;
    /// assert_eq!(comparison.budget(), None);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn budget(&self) -> Option<f64> {
        self.processor_seconds().min_by(f64::total_cmp)
    }

    /// Returns the budget if the column of the quality at equal cost is shown: if the processor times of two rows
    /// differ by more than 10 %, and a row has a value.
    pub(crate) fn shown_budget(&self) -> Option<f64> {
        let dearest = self.processor_seconds().max_by(f64::total_cmp)?;
        let has_value = self.rows.iter().any(|row| row.at_equal_cost.is_some());
        self.budget().filter(|budget| dearest > 1.1 * budget && has_value)
    }

    fn processor_seconds(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().filter_map(Row::processor_seconds).filter(|seconds| seconds.is_finite())
    }
}

impl Row {
    /// Returns the elapsed time of the training, the teacher's included.
    pub(crate) fn seconds(&self) -> Option<f64> {
        self.cost?.seconds
    }

    /// Returns the processor time of the training, the teacher's included.
    pub(crate) fn processor_seconds(&self) -> Option<f64> {
        self.cost?.processor_seconds
    }
}

/// The line of the teacher in the table, trained or untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeacherRow {
    /// The teacher's metric, measured on the same rows as the students.
    pub score: f64,
    /// Number of layers.
    pub layers: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Time for a single text, if it was measured.
    pub milliseconds_per_text: Option<f64>,
    /// Texts per second in batches, if it was measured.
    pub texts_per_second: Option<f64>,
}

/// One method at one depth, over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its label in the table.
    pub label: String,
    /// The method it was trained with.
    pub method: String,
    /// Number of layers.
    pub layers: u64,
    /// The seed of each run.
    pub seeds: Vec<u64>,
    /// The metric of each seed, in the order of `seeds`.
    pub scores: Vec<f64>,
    /// Mean of `scores`.
    pub mean: f64,
    /// Sample standard deviation of `scores` (divided by n − 1); `None` for a single seed.
    pub spread: Option<f64>,
    /// Mean over the seeds of the metric before any training, of the same model on the same rows as `scores`; `None`
    /// unless every seed measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched: Option<f64>,
    /// `mean` ÷ the teacher's score; `None` without a teacher or if its score is 0.
    pub kept: Option<f64>,
    /// The other metrics by name.
    pub metrics: BTreeMap<String, Spread>,
    /// Number of parameters.
    pub parameters: u64,
    /// `parameters` × 4 bytes ÷ 10⁶: the weights in f32.
    pub megabytes: f64,
    /// Time for a single text: the median over all runs of models of this shape, if it was measured.
    pub milliseconds_per_text: Option<f64>,
    /// Texts per second in batches: the median over all runs of models of this shape, if it was measured.
    pub texts_per_second: Option<f64>,
    /// Cost of the training, the teacher's included, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<TotalCost>,
    /// Quality at equal cost, on the development data: mean over the seeds of the best metric up to
    /// [`Comparison::budget`]. `None` if the cost is unknown, or if a seed had no evaluation within the budget. It favours
    /// the cheapest row, because the learning rate of the others had not yet fallen to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_equal_cost: Option<f64>,
    /// The test against the baseline; `None` for the baseline, and at a depth without a baseline.
    pub against: Option<Against>,
    /// Settings that differ between entries or were chosen, by dotted key.
    pub settings: BTreeMap<String, String>,
    /// Names of the run folders, in the order of `seeds`.
    pub runs: Vec<String>,
}

/// The cost of the training, the teacher's included: mean over the seeds of a row. A time is `None` unless it is known
/// for every seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TotalCost {
    /// Elapsed time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Processor time of all threads and processes, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_seconds: Option<f64>,
}

/// A mean over seeds and its spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean over the seeds.
    pub mean: f64,
    /// Sample standard deviation (divided by n − 1); `None` for a single seed.
    pub spread: Option<f64>,
}

/// The test of a row against the baseline at the same depth; see [`compare`](crate::compare).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// Label of the baseline.
    pub label: String,
    /// Mean of the row minus mean of the baseline.
    pub difference: f64,
    /// Lower end of the 95 % interval of the difference.
    pub low: f64,
    /// Upper end of the 95 % interval of the difference.
    pub high: f64,
    /// Two-sided p-value of this test alone.
    pub p: f64,
    /// The p-value, adjusted (Holm 1979) for all tests of the comparison.
    pub p_holm: f64,
}

/// The choice of settings for a method at a depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Label of the rows that use the settings.
    pub label: String,
    /// Number of layers.
    pub layers: u64,
    /// The tries, in order.
    pub tries: Vec<Try>,
}

/// Settings that were tried, and their score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// Settings by dotted key.
    pub settings: BTreeMap<String, String>,
    /// The metric on the data by which settings are chosen.
    pub score: f64,
    /// True if the settings were chosen.
    pub chosen: bool,
}
