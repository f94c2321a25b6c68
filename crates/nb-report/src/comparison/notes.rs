//! Notes for the reader of the table.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{SIGNIFICANT, depth};
use crate::record::{Comparison, Row};

/// With fewer rows than this, a bootstrap interval is too narrow.
const FEW_ROWS: u64 = 20;

/// Returns the notes of a comparison of models measured on `split`.
pub(super) fn of(comparison: &Comparison, split: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let tests = comparison.rows.iter().filter(|row| row.against.is_some()).count();
    if tests > 0 {
        notes.push(format!(
            "Differences from {}: paired bootstrap over the {} rows of the {split} data (10,000 resamples, 95 % intervals), \
             each row averaged over the seeds; p adjusted by Holm's procedure for {tests} {}. They account for the \
             choice of rows, not of seeds; for seeds, see the ± beside each mean.",
            comparison.baseline,
            comparison.rows_compared,
            if tests == 1 { "test" } else { "tests" },
        ));
    }
    if tests > 0 && comparison.rows_compared < FEW_ROWS {
        notes.push(format!("With only {} rows, the intervals are too narrow.", comparison.rows_compared));
    }
    if split != "test" {
        notes.push(format!(
            "Scores are on the {split} data, on which the best checkpoint of each run was selected, so they are \
             optimistic; set `data.test` for held-out scores."
        ));
    }
    notes.extend(teacher_lost(comparison));
    notes.extend(without_baseline(comparison));
    notes.extend(comparison.rows.iter().filter_map(|row| other_seeds(row, baseline_of(comparison, row)?)));
    notes.extend(comparison.rows.iter().filter_map(|row| within_seeds(row, baseline_of(comparison, row)?)));
    if comparison.rows.iter().any(|row| row.spread.is_none()) {
        notes.push("A row with a single seed has no ±: the spread over seeds is unknown.".to_owned());
    }
    if comparison.rows.iter().any(|row| row.cost.is_some()) {
        notes.push("Seconds and processor seconds are of the training, the teacher's included.".to_owned());
    }
    notes.extend(comparison.shown_budget().map(|budget| equal_cost(comparison, budget)));
    notes
}

/// Returns a note if the trained teacher is worse than the untouched one.
fn teacher_lost(comparison: &Comparison) -> Option<String> {
    let (after, before) = (comparison.teacher.as_ref()?.score, comparison.untouched.as_ref()?.score);
    (after < before).then(|| {
        format!(
            "Training left the teacher below the checkpoint that it started from ({after:.4} against {before:.4} {}); \
             lower teacher.train.lr or train.teacher_lr, or use the checkpoint as it comes with teacher.train.epochs: 0.",
            comparison.metric
        )
    })
}

/// Returns the explanation of the quality at equal cost.
fn equal_cost(comparison: &Comparison, budget: f64) -> String {
    format!(
        "At equal cost: the best {} on the development data within {budget:.1} processor seconds, the cost of the \
         cheapest row. The teacher's training counts, so a method whose teacher alone costs more has no value. The \
         learning rate of the others had not yet fallen to zero there, so the column favours the cheapest method.",
        comparison.metric
    )
}

fn baseline_of<'a>(comparison: &'a Comparison, row: &Row) -> Option<&'a Row> {
    let label = &row.against.as_ref()?.label;
    comparison.rows.iter().find(|base| base.label == *label && base.layers == row.layers)
}

/// Returns one note for each depth at which the baseline is missing.
fn without_baseline(comparison: &Comparison) -> impl Iterator<Item = String> {
    let mut missing: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    let untested = comparison.rows.iter().filter(|row| row.against.is_none() && row.label != comparison.baseline);
    untested.for_each(|row| missing.entry(row.layers).or_default().push(&row.label));
    let baseline = &comparison.baseline;
    missing.into_iter().map(move |(layers, labels)| {
        format!("{baseline} was not run at {}, so {} cannot be tested against it.", depth(layers), labels.join(", "))
    })
}

fn other_seeds(row: &Row, base: &Row) -> Option<String> {
    let set = |row: &Row| row.seeds.iter().copied().collect::<BTreeSet<u64>>();
    let list = |row: &Row| row.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    (set(row) != set(base)).then(|| {
        let (label, depth, other) = (&row.label, depth(row.layers), &base.label);
        format!("{label} at {depth} was run with seeds {}, {other} with {}.", list(row), list(base))
    })
}

/// Returns a note if the difference is significant over rows, but at most twice its standard error over seeds.
fn within_seeds(row: &Row, base: &Row) -> Option<String> {
    let against = row.against.as_ref().filter(|against| against.p_holm < SIGNIFICANT)?;
    let square = |row: &Row| row.spread.map(|spread| spread.powi(2) / row.seeds.len() as f64);
    let error = (square(row)? + square(base)?).sqrt();
    (against.difference.abs() <= 2.0 * error).then(|| {
        format!(
            "{} at {}: the difference of {:+.4} is significant over rows, but its standard error over seeds is {error:.4}; \
             other seeds may reverse it.",
            row.label,
            depth(row.layers),
            against.difference
        )
    })
}
