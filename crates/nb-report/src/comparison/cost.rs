//! The cost of the runs of a row, and their quality at equal cost.

use super::measured::{Measured, mean_of_all};
use crate::RunRecord;
use crate::record::{Cost, TotalCost};

/// The tolerance of the budget, as a share of it. The mean over seeds rounds, and a cost equal to it is within the
/// budget.
const ROUNDING: f64 = 1e-9;

/// Returns the cost of the training, the teacher's included: the mean over `runs`. `None` if neither time is known.
pub(super) fn of(runs: &[Measured<'_>]) -> Option<TotalCost> {
    let totals: Vec<Cost> = runs.iter().map(|run| total(run.run)).collect();
    let cost = TotalCost {
        seconds: mean_of_all(totals.iter().map(|total| total.seconds)),
        processor_seconds: mean_of_all(totals.iter().map(|total| total.processor_seconds)),
    };
    (cost != TotalCost::default()).then_some(cost)
}

/// Returns the mean over `runs` of the best metric among the evaluations within `budget` processor seconds. `None` if a
/// run has no such evaluation.
pub(super) fn metric_within(budget: f64, runs: &[Measured<'_>]) -> Option<f64> {
    mean_of_all(runs.iter().map(|run| best_within(budget * (1.0 + ROUNDING), run)))
}

fn best_within(budget: f64, run: &Measured<'_>) -> Option<f64> {
    let before = teacher(run.run).processor_seconds?;
    let is_within = |cost: Cost| cost.checked().processor_seconds.is_some_and(|seconds| before + seconds <= budget);
    let within = run.run.evaluations.iter().filter(|line| line.cost.is_some_and(is_within));
    within.filter_map(|line| run.evaluated(line)).max_by(f64::total_cmp)
}

/// Returns the cost of a run and of its teacher; a time is `None` if it is unknown for one of them.
fn total(run: &RunRecord) -> Cost {
    let own = run.summary.cost.and_then(|cost| cost.run).unwrap_or_default().checked();
    let teacher = teacher(run);
    let sum = |own: Option<f64>, teacher: Option<f64>| Some(own? + teacher?);
    Cost {
        seconds: sum(own.seconds, teacher.seconds),
        processor_seconds: sum(own.processor_seconds, teacher.processor_seconds),
    }
}

/// Returns the cost of the training of the teacher before the run: 0 if there was none.
fn teacher(run: &RunRecord) -> Cost {
    match run.summary.cost.and_then(|cost| cost.teacher) {
        Some(cost) => cost.checked(),
        None if has_trained_teacher(run) => Cost::default(),
        None => Cost { seconds: Some(0.0), processor_seconds: Some(0.0) },
    }
}

/// Returns true if the run started from a trained teacher that is not the checkpoint itself. Without a record of its
/// cost, the cost is unknown and not 0.
fn has_trained_teacher(run: &RunRecord) -> bool {
    let Some(models) = &run.summary.sources.models else { return false };
    models.trained.iter().flatten().any(|teacher| models.checkpoint.as_ref() != Some(teacher))
}
