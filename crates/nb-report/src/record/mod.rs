//! The record of a run: the files of its folder, each as a type for writing and reading.
//!
//! | file | type |
//! | --- | --- |
//! | `summary.json` | [`Summary`] |
//! | `metrics.jsonl` | one [`Line`] per line: [`StepLine`] or [`EvalLine`] |
//! | `outcomes.safetensors` | [`OutcomesFile`] |
//! | `compare.json`, in the folder of a comparison | [`Comparison`] |
//!
//! Fields are written in the order of their declaration; an absent field is not written. Reading is lenient: an unknown
//! key is ignored and a value of another type counts as absent, so records of older and newer versions can still be
//! read.

mod comparison;
mod cost;
mod evaluation;
mod lenient;
mod metrics;
mod named;
mod names;
mod outcomes;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::ReportError;

pub use comparison::{Against, Comparison, Row, Spread, Sweep, TeacherRow, TotalCost, Try};
pub use cost::{Cost, RunCost};
pub use evaluation::{Evaluation, Interval, Rows, Scores};
pub use metrics::{Agreement, EvalLine, Line, StepLine};
pub use named::Named;
pub(crate) use names::COMPARISON_FILE;
pub use names::{CONFIG_FILE, METRICS_FILE, OUTCOMES_FILE, SUMMARY_FILE};
pub use outcomes::{Classes, Column, Outcomes, OutcomesFile};
pub use summary::{Data, DataFile, Machine, ModelDigests, ModelSummary, Sources, Summary, TrainSummary, Untouched};

/// A finished run.
#[derive(Debug, Clone, Default)]
pub struct RunRecord {
    /// The run folder.
    pub folder: PathBuf,
    /// The text of `config.yaml`.
    pub config: String,
    /// `summary.json`.
    pub summary: Summary,
    /// The training steps in `metrics.jsonl`.
    pub steps: Vec<StepLine>,
    /// The evaluations in `metrics.jsonl`.
    pub evaluations: Vec<EvalLine>,
    /// `outcomes.safetensors`, if the run wrote it.
    pub outcomes: Option<OutcomesFile>,
}

impl RunRecord {
    /// Reads a run folder. Unknown keys and events are ignored.
    ///
    /// # Errors
    /// If `summary.json`, `config.yaml` or `metrics.jsonl` is missing or malformed; the message names the file and the
    /// line.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let mut record = Self { folder: folder.to_owned(), ..Self::default() };
        let path = folder.join(SUMMARY_FILE);
        let text = fs::read_to_string(&path).map_err(ReportError::io(&path))?;
        let bad = |found: String| ReportError::content(&path, None, found);
        let summary = object(&text).map_err(bad)?;
        record.summary = Summary::deserialize(summary).map_err(|e| bad(e.to_string()))?;
        record.read_metrics(&folder.join(METRICS_FILE))?;
        let path = folder.join(OUTCOMES_FILE);
        record.outcomes = path.is_file().then(|| OutcomesFile::read(&path)).transpose()?;
        let path = folder.join(CONFIG_FILE);
        record.config = fs::read_to_string(&path).map_err(ReportError::io(&path))?;
        Ok(record)
    }

    fn read_metrics(&mut self, path: &Path) -> Result<(), ReportError> {
        let text = fs::read_to_string(path).map_err(ReportError::io(path))?;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line = object(line).map_err(|found| ReportError::content(path, Some(index + 1), found))?;
            match Line::read(line) {
                Some(Line::Step(line)) => self.steps.push(*line),
                Some(Line::Eval(line)) => self.evaluations.push(*line),
                None => {}
            }
        }
        Ok(())
    }
}

/// Parses a JSON object.
fn object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("{e}, expected a JSON object"))?;
    if value.is_object() { Ok(value) } else { Err(format!("found {value}, expected a JSON object")) }
}
