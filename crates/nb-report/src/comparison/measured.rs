//! One model as its run measured it, and whether several were measured on the same ground.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Spread;
use crate::{Outcomes, ReportError, RunRecord};

/// How far a metric of `summary.json` may lie from the mean over the rows of `outcomes.safetensors`: rounding, if some
/// step of the way was in f32.
const SAME: f64 = 1e-6;

/// The method that trains a teacher and nothing else.
const TEACHER_ALONE: &str = "teacher";

/// A model as one run measured it.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pub(super) run: &'a RunRecord,
    /// `student` or `teacher`.
    side: &'static str,
    /// What `summary.json` says of the model.
    own: &'a Value,
    /// Where its metrics stand: `own`, or its `test`.
    scored: &'a Value,
    /// The primary metric.
    pub(super) metric: &'a str,
    pub(super) score: f64,
    outcomes: &'a Outcomes,
    /// The rows, ascending.
    pub(super) rows: Vec<u32>,
    /// The primary metric of each of `rows`.
    pub(super) values: Vec<f64>,
}

impl<'a> Measured<'a> {
    /// The model that a run is about: its student, or of a run that trained a teacher alone the teacher.
    pub(super) fn subject(run: &'a RunRecord) -> Result<Self, ReportError> {
        let alone = run.summary["method"] == TEACHER_ALONE;
        Self::of(run, if alone { "teacher" } else { "student" })
    }

    /// The teacher of a run.
    pub(super) fn teacher(run: &'a RunRecord) -> Result<Self, ReportError> {
        Self::of(run, "teacher")
    }

    fn of(run: &'a RunRecord, side: &'static str) -> Result<Self, ReportError> {
        let metric = text(run, "primary")?;
        let own = &run.summary[side];
        if !own.is_object() {
            return Err(summary(run, format!("no {side}, expected what it measured")));
        }
        let scored = if own["test"].is_object() { &own["test"] } else { own };
        let score = scored[metric].as_f64().ok_or_else(|| summary(run, format!("no number {metric} of the {side}")))?;
        let path = run.folder.join("outcomes.safetensors");
        let bad = |found: String| ReportError::content(&path, None, found);
        let Some(outcomes) = &run.outcomes else {
            return Err(bad(
                "not there, expected what the models made of each row: runs are compared row by row".into()
            ));
        };
        let name = format!("{side}.{metric}");
        let values = outcomes.numbers.get(&name).ok_or_else(|| bad(format!("no {name}")))?;
        let (rows, values) = ascending(&outcomes.rows, values).map_err(|what| bad(format!("{name} {what}")))?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        if (mean - score).abs() > SAME {
            return Err(bad(format!("mean of {name} is {mean}, expected the {score} of summary.json")));
        }
        Ok(Self { run, side, own, scored, metric, score, outcomes, rows, values })
    }

    /// A count that `summary.json` must have of this model.
    pub(super) fn count(&self, key: &str) -> Result<u64, ReportError> {
        self.own[key].as_u64().ok_or_else(|| summary(self.run, format!("no whole number {key} of the {}", self.side)))
    }

    /// A number that `summary.json` may have of this model.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.own[key].as_f64()
    }

    /// The seed of the run.
    pub(super) fn seed(&self) -> Result<u64, ReportError> {
        self.run.summary["seed"].as_u64().ok_or_else(|| summary(self.run, "no whole number seed"))
    }

    /// The method of the run.
    pub(super) fn method(&self) -> Result<&'a str, ReportError> {
        text(self.run, "method")
    }

    /// Names and values of all metrics but the primary one.
    pub(super) fn others(&self) -> impl Iterator<Item = (&'a str, f64)> {
        let primary = self.metric;
        let all = self.scored.as_object().into_iter().flatten();
        all.filter(move |(name, _)| *name != primary && is_metric(name))
            .filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)))
    }

    /// `dev` or `test`.
    pub(super) fn split(&self) -> &'a str {
        self.outcomes.metadata.get("split").map_or("", String::as_str)
    }

    /// Fails unless this model did the same task on the same rows of the same data as `first`.
    pub(super) fn same_ground(&self, first: &Self) -> Result<(), ReportError> {
        let there = first.run.folder.display();
        let differs = |what: &str, here: &str, expected: &str| {
            summary(self.run, format!("{what} is {here}, expected {expected} as in {there}: nothing to compare"))
        };
        let data = |run: &'a RunRecord, split: &str| run.summary["data"][split]["blake3"].as_str();
        let (task, expected) = (text(self.run, "task")?, text(first.run, "task")?);
        if task != expected {
            return Err(differs("the task", task, expected));
        }
        if self.metric != first.metric {
            return Err(differs("the primary metric", self.metric, first.metric));
        }
        if self.split() != first.split() {
            return Err(differs("the split that was measured", self.split(), first.split()));
        }
        if let (Some(here), Some(expected)) = (data(self.run, self.split()), data(first.run, first.split()))
            && here != expected
        {
            return Err(differs(&format!("blake3 of the {} data", self.split()), here, expected));
        }
        if self.rows == first.rows {
            return Ok(());
        }
        let strange = self.rows.iter().filter(|row| first.rows.binary_search(row).is_err()).count();
        let path = self.run.folder.join("outcomes.safetensors");
        let found = format!(
            "{} rows, {strange} of them not in {there}, expected the same {} rows: nothing to compare",
            self.rows.len(),
            first.rows.len()
        );
        Err(ReportError::content(&path, None, found))
    }
}

/// Sorts rows and their values by row; says what is wrong with them otherwise.
fn ascending(rows: &[u32], values: &[f64]) -> Result<(Vec<u32>, Vec<f64>), String> {
    if rows.len() != values.len() {
        return Err(format!("has {} entries, expected {} as rows has", values.len(), rows.len()));
    }
    if rows.is_empty() {
        return Err("has no entry, expected at least one".to_owned());
    }
    let mut pairs: Vec<(u32, f64)> = rows.iter().copied().zip(values.iter().copied()).collect();
    pairs.sort_by_key(|&(row, _)| row);
    if let Some((row, value)) = pairs.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("of row {row} is {value}, expected a finite number"));
    }
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("has row {} twice, expected each row once", twice[0].0));
    }
    Ok(pairs.into_iter().unzip())
}

/// Whether a key of a model's part of `summary.json` names a metric, and not a count, a time or a place.
fn is_metric(key: &str) -> bool {
    let name = key.split_once('@').map_or(key, |(name, _)| name);
    matches!(name, "accuracy" | "macro_f1" | "auc" | "mrr" | "ndcg" | "recall")
}

/// Mean and sample standard deviation over seeds.
pub(super) fn over_seeds(values: &[f64], folder: &Path) -> Result<Spread, ReportError> {
    let found = nb_eval::spread(values).map_err(|e| ReportError::content(folder, None, e.to_string()))?;
    Ok(Spread { mean: found.mean, spread: found.deviation })
}

pub(super) fn text<'a>(run: &'a RunRecord, key: &str) -> Result<&'a str, ReportError> {
    run.summary[key].as_str().ok_or_else(|| summary(run, format!("no text {key}")))
}

/// Something is wrong with the `summary.json` of a run.
pub(super) fn summary(run: &RunRecord, found: impl Into<String>) -> ReportError {
    let path: PathBuf = run.folder.join("summary.json");
    ReportError::content(&path, None, found)
}
