//! Conversion of the record of a run to series, names and counts for tables and curves.

use crate::format::{plural, singular};
use crate::plot::Series;
use crate::record::{EvalLine, Scores, StepLine};

/// A line of `metrics.jsonl` with a position on the step axis.
pub(crate) trait Logged {
    /// The step of the line.
    fn step(&self) -> Option<u64>;
}

impl Logged for StepLine {
    fn step(&self) -> Option<u64> {
        self.step
    }
}

impl Logged for EvalLine {
    fn step(&self) -> Option<u64> {
        self.step
    }
}

/// Returns the values of the lines over their steps. A line without a step counts as one step after the previous line.
pub(crate) fn series<L: Logged>(lines: &[L], value: impl Fn(&L) -> Option<f64>) -> Series {
    let mut step = 0.0;
    let point = |line: &L| {
        step = line.step().map_or(step + 1.0, |step| step as f64);
        (step, value(line).filter(|value| value.is_finite()))
    };
    Series(lines.iter().map(point).collect())
}

/// Returns the names that occur in `all`, in the order of their first occurrence.
pub(crate) fn distinct<'a>(all: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the names of the metrics of all `scores`, in the order of their first occurrence.
pub(crate) fn metrics<'a>(scores: impl IntoIterator<Item = &'a Scores>) -> Vec<&'a str> {
    distinct(scores.into_iter().flat_map(|scores| scores.metrics.names()))
}

/// Returns the number of rows behind `scores` in words, e.g. `18 texts`.
pub(crate) fn rows(scores: &Scores) -> Option<String> {
    let rows = scores.rows.as_ref()?;
    Some(plural(rows.count, &singular(&rows.unit)))
}
