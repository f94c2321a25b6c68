//! `compare.json`: methods at several depths over several seeds, side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Methods at depths over seeds, side by side; as JSON it is `compare.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the comparison.
    pub name: String,
    /// `topic`, `recommend` or `retrieve`.
    pub task: String,
    /// The metric all scores are of, e.g. `accuracy`.
    pub metric: String,
    /// Label of the rows that all others are tested against, each at its own depth.
    pub baseline: String,
    /// The teacher that students are measured by, where there is one.
    pub teacher: Option<TeacherRow>,
    /// One row for each method and depth, in the order given.
    pub rows: Vec<Row>,
    /// How settings were chosen, where they were.
    pub sweeps: Vec<Sweep>,
    /// Number of rows (texts, impressions, queries) that every score is the mean over.
    pub rows_compared: u64,
    /// What a reader of the table must know, a sentence each.
    pub notes: Vec<String>,
}

/// The teacher's line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeacherRow {
    /// Its metric, on the rows that the students were measured on.
    pub score: f64,
    /// Number of layers.
    pub layers: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Time for one text alone, where it was measured.
    pub milliseconds_per_text: Option<f64>,
    /// Texts a second in batches, where it was measured.
    pub texts_per_second: Option<f64>,
}

/// One method at one depth, over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is called in the table.
    pub label: String,
    /// The method it was trained with.
    pub method: String,
    /// Number of layers.
    pub layers: u64,
    /// The seeds, one run each.
    pub seeds: Vec<u64>,
    /// The metric of each seed, in the order of `seeds`.
    pub scores: Vec<f64>,
    /// Mean of `scores`.
    pub mean: f64,
    /// Sample standard deviation of `scores` (divided by n − 1); none for a single seed.
    pub spread: Option<f64>,
    /// `mean` ÷ the teacher's score; none without a teacher or where its score is 0.
    pub kept: Option<f64>,
    /// The other metrics by name.
    pub metrics: BTreeMap<String, Spread>,
    /// Number of parameters.
    pub parameters: u64,
    /// `parameters` × 4 bytes ÷ 10⁶: the weights in f32.
    pub megabytes: f64,
    /// Time for one text alone, median over all runs of models of this shape, where it was measured.
    pub milliseconds_per_text: Option<f64>,
    /// Texts a second in batches, median over all runs of models of this shape, where it was measured.
    pub texts_per_second: Option<f64>,
    /// The test against the baseline; none for the baseline itself and where it was not run at this depth.
    pub against: Option<Against>,
    /// Settings that differ between entries or were chosen, by dotted key.
    pub settings: BTreeMap<String, String>,
    /// Names of the run folders, in the order of `seeds`.
    pub runs: Vec<String>,
}

/// A mean over seeds and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean over the seeds.
    pub mean: f64,
    /// Sample standard deviation (divided by n − 1); none for a single seed.
    pub spread: Option<f64>,
}

/// A row tested against the baseline of its depth; see [`compare`](crate::compare) for what the test covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// Label of the baseline.
    pub label: String,
    /// Mean of the row less mean of the baseline.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
    /// Two-sided p-value of this test alone.
    pub p: f64,
    /// The same, adjusted (Holm 1979) for all tests of the comparison.
    pub p_holm: f64,
}

/// How the settings of a method at a depth were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Label of the rows it was for.
    pub label: String,
    /// Number of layers.
    pub layers: u64,
    /// What was tried, in order.
    pub tries: Vec<Try>,
}

/// One choice of settings and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// Settings by dotted key.
    pub settings: BTreeMap<String, String>,
    /// Its metric, on the data that settings are chosen by.
    pub score: f64,
    /// Whether these settings were taken.
    pub chosen: bool,
}
