//! The measurements of a model in its run, and the check that models were measured on the same rows.

use std::path::{Path, PathBuf};

use crate::record::{EvalLine, ModelSummary, OUTCOMES_FILE, Outcomes, SUMMARY_FILE, Spread};
use crate::{ReportError, RunRecord};

/// The tolerance between a metric in `summary.json` and the mean over the rows in `outcomes.safetensors`. It allows for
/// rounding to f32.
const TOLERANCE: f64 = 1e-6;

/// The method that trains only a teacher.
const TEACHER_ALONE: &str = "teacher";

/// The name of the teacher in a record.
const TEACHER: &str = "teacher";

/// The measurements of a model in one run.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pub(super) run: &'a RunRecord,
    /// `student` or `teacher`.
    name: &'static str,
    model: &'a ModelSummary,
    /// The primary metric.
    pub(super) metric: &'a str,
    pub(super) score: f64,
    /// The split of the outcomes; empty if the file does not name it.
    pub(super) split: &'a str,
    /// The rows, ascending.
    pub(super) rows: Vec<u32>,
    /// The primary metric of each row, in the order of `rows`.
    pub(super) values: Vec<f64>,
}

impl<'a> Measured<'a> {
    /// Returns the model that a run is scored by: its student, or its teacher if the run trained only a teacher.
    pub(super) fn subject(run: &'a RunRecord) -> Result<Self, ReportError> {
        let is_teacher_run = run.summary.method.as_deref() == Some(TEACHER_ALONE);
        if is_teacher_run { Self::teacher(run) } else { Self::student(run) }
    }

    /// Returns the teacher of a run.
    pub(super) fn teacher(run: &'a RunRecord) -> Result<Self, ReportError> {
        let outcomes = run.outcomes.as_ref().map(|file| file.teacher.as_ref());
        Self::new(run, TEACHER, run.summary.teacher.as_ref(), outcomes)
    }

    fn student(run: &'a RunRecord) -> Result<Self, ReportError> {
        let outcomes = run.outcomes.as_ref().map(|file| file.student.as_ref());
        Self::new(run, "student", run.summary.student.as_ref(), outcomes)
    }

    /// Creates the measurements. `outcomes` is `None` if the run has no outcomes file, and `Some(None)` if the file has
    /// no outcomes of the model.
    fn new(
        run: &'a RunRecord,
        name: &'static str,
        model: Option<&'a ModelSummary>,
        outcomes: Option<Option<&'a Outcomes>>,
    ) -> Result<Self, ReportError> {
        let metric = text(run, "primary", run.summary.primary.as_ref())?;
        let model = model.ok_or_else(|| summary(run, format!("no {name}, expected its measurements")))?;
        let score = model.last().scores.metric(metric);
        let score = score.ok_or_else(|| summary(run, format!("expected a number for `{metric}` of the {name}")))?;
        let path = run.folder.join(OUTCOMES_FILE);
        let bad = |found: String| ReportError::content(&path, None, found);
        let outcomes = outcomes.ok_or_else(|| {
            bad("no such file, expected the outcome of each row, which the comparison needs".to_owned())
        })?;
        let column = format!("{name}.{metric}");
        let missing = || bad(format!("no {column}"));
        let outcomes = outcomes.ok_or_else(missing)?;
        let values = outcomes.values_of(metric).ok_or_else(missing)?;
        let (rows, values) = ascending(&outcomes.rows, values).map_err(|what| bad(format!("{column} {what}")))?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        if (mean - score).abs() > TOLERANCE {
            return Err(bad(format!("mean of {column} is {mean}, expected the {score} of {SUMMARY_FILE}")));
        }
        let split = run.outcomes.as_ref().and_then(|file| file.split.as_deref()).unwrap_or_default();
        Ok(Self { run, name, model, metric, score, split, rows, values })
    }

    /// Returns the primary metric of another model of the run on the rows of this score.
    pub(super) fn score_of(&self, other: &ModelSummary) -> Option<f64> {
        let evaluation = if self.model.test.is_some() { other.test.as_ref()? } else { &other.dev };
        evaluation.scores.metric(self.metric)
    }

    /// Returns the primary metric of the model before any training, on the rows of its score.
    pub(super) fn untouched(&self) -> Option<f64> {
        let models = self.run.summary.untouched.as_ref()?;
        let model = if self.name == TEACHER { &models.teacher } else { &models.student };
        self.score_of(model.as_ref()?)
    }

    /// Returns the primary metric of the model in an evaluation during training.
    pub(super) fn evaluated(&self, line: &EvalLine) -> Option<f64> {
        let evaluation = if self.name == TEACHER { &line.teacher } else { &line.student };
        evaluation.as_ref()?.scores.metric(self.metric)
    }

    /// Returns the number of layers.
    pub(super) fn layers(&self) -> Result<u64, ReportError> {
        self.required("layers", self.model.layers)
    }

    /// Returns the number of parameters.
    pub(super) fn parameters(&self) -> Result<u64, ReportError> {
        self.required("parameters", self.model.parameters)
    }

    fn required(&self, key: &str, count: Option<u64>) -> Result<u64, ReportError> {
        count.ok_or_else(|| summary(self.run, format!("expected a whole number for `{key}` of the {}", self.name)))
    }

    /// Returns the speed of the model.
    pub(super) fn speed(&self) -> Speed {
        Speed::of(self.model)
    }

    /// Returns the seed of the run.
    pub(super) fn seed(&self) -> Result<u64, ReportError> {
        self.run.summary.seed.ok_or_else(|| summary(self.run, "expected a whole number for `seed`"))
    }

    /// Returns the method of the run.
    pub(super) fn method(&self) -> Result<&'a str, ReportError> {
        text(self.run, "method", self.run.summary.method.as_ref())
    }

    /// Returns the task of the run.
    pub(super) fn task(&self) -> Result<&'a str, ReportError> {
        text(self.run, "task", self.run.summary.task.as_ref())
    }

    /// Returns the names and values of all metrics except the primary one.
    pub(super) fn others(&self) -> impl Iterator<Item = (&'a str, f64)> {
        let primary = self.metric;
        let all = self.model.last().scores.metrics.iter();
        all.filter(move |(name, _)| *name != primary).map(|(name, value)| (name, *value))
    }

    /// Returns the hash of the data that the model was measured on.
    fn data(&self) -> Option<&'a str> {
        self.run.summary.sources.data.as_ref()?.get(self.split)?.blake3()
    }

    /// Fails unless this model and `first` were measured on the same task and on the same rows of the same data.
    pub(super) fn check_same_rows(&self, first: &Self) -> Result<(), ReportError> {
        let other_folder = first.run.folder.display();
        let differs = |what: &str, here: &str, expected: &str| {
            summary(
                self.run,
                format!("{what} is {here}, expected {expected} as in {other_folder}: the runs cannot be compared"),
            )
        };
        let (task, expected) = (self.task()?, first.task()?);
        if task != expected {
            return Err(differs("the task", task, expected));
        }
        if self.metric != first.metric {
            return Err(differs("the primary metric", self.metric, first.metric));
        }
        if self.split != first.split {
            return Err(differs("the measured split", self.split, first.split));
        }
        if let (Some(here), Some(expected)) = (self.data(), first.data())
            && here != expected
        {
            return Err(differs(&format!("blake3 of the {} data", self.split), here, expected));
        }
        if self.rows == first.rows {
            return Ok(());
        }
        let unknown = self.rows.iter().filter(|row| first.rows.binary_search(row).is_err()).count();
        let path = self.run.folder.join(OUTCOMES_FILE);
        let found = format!(
            "{} rows, {unknown} of them not in {other_folder}, expected the same {} rows: the runs cannot be compared",
            self.rows.len(),
            first.rows.len()
        );
        Err(ReportError::content(&path, None, found))
    }
}

/// Returns rows and values sorted by row.
fn ascending(rows: &[u32], values: &[f64]) -> Result<(Vec<u32>, Vec<f64>), String> {
    if rows.len() != values.len() {
        return Err(format!("has length {}, expected {}, the length of `rows`", values.len(), rows.len()));
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

/// Returns mean and sample standard deviation over seeds.
pub(super) fn over_seeds(values: &[f64], folder: &Path) -> Result<Spread, ReportError> {
    let found = nb_eval::spread(values).map_err(|e| ReportError::content(folder, None, e.to_string()))?;
    Ok(Spread { mean: found.mean, spread: found.deviation })
}

/// Returns the mean of the values; `None` if a value is missing or if the mean is not finite.
pub(super) fn mean_of_all(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64).filter(|mean| mean.is_finite())
}

/// The speed of a model; `None` for a value that was not measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    pub(super) milliseconds_per_text: Option<f64>,
    pub(super) texts_per_second: Option<f64>,
}

impl Speed {
    /// Returns the speed in a summary.
    pub(super) fn of(model: &ModelSummary) -> Self {
        Self { milliseconds_per_text: model.milliseconds_per_text, texts_per_second: model.texts_per_second }
    }

    /// Returns the medians of both values.
    pub(super) fn median(speeds: &[Self]) -> Self {
        Self {
            milliseconds_per_text: median(speeds.iter().filter_map(|speed| speed.milliseconds_per_text)),
            texts_per_second: median(speeds.iter().filter_map(|speed| speed.texts_per_second)),
        }
    }
}

/// Returns the middle value, or the mean of the two middle values; `None` without values.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

fn text<'a>(run: &RunRecord, key: &str, value: Option<&'a String>) -> Result<&'a str, ReportError> {
    value.map(String::as_str).ok_or_else(|| summary(run, format!("expected a string for `{key}`")))
}

/// Returns an error about the `summary.json` of a run.
pub(super) fn summary(run: &RunRecord, found: impl Into<String>) -> ReportError {
    let path: PathBuf = run.folder.join(SUMMARY_FILE);
    ReportError::content(&path, None, found)
}
