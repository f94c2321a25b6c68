//! Comparisons of runs, checked against numbers computed by hand, and runs that cannot be compared.

#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

mod costs;
mod numbers;
mod refused;
mod untouched;
mod written;

use std::collections::BTreeMap;

use nb_report::record::{Outcomes, OutcomesFile, Summary};
use nb_report::{Comparison, Entry, Header, RunRecord, Sweep, Try, compare};
use serde_json::{Value, json};

/// Returns a finished run whose student has `values` on rows 0, 1, 2, …
fn run(method: &str, layers: u64, seed: u64, values: &[f64]) -> RunRecord {
    let score = values.iter().sum::<f64>() / values.len() as f64;
    let summary = json!({
        "task": "topic", "method": method, "seed": seed, "primary": "accuracy",
        "student": {
            "layers": layers, "parameters": layers * 500_000, "accuracy": 0.0, "texts": 7,
            "milliseconds_per_text": 2.0 + seed as f64, "texts_per_second": 100.0 * (seed + 1) as f64,
            "test": {"texts": values.len(), "accuracy": score, "macro_f1": score / 2.0},
        },
        "data": {"test": {"blake3": "aa"}},
    });
    let student = Outcomes {
        rows: (0..values.len() as u32).collect(),
        values: vec![("accuracy".into(), values.to_vec())],
        classes: None,
    };
    RunRecord {
        folder: format!("runs/all/{method}-{layers}l-s{seed}").into(),
        summary: serde_json::from_value(summary).unwrap(),
        outcomes: Some(OutcomesFile {
            split: Some("test".to_owned()),
            student: Some(student),
            ..OutcomesFile::default()
        }),
        ..RunRecord::default()
    }
}

/// Changes the JSON of a summary.
fn edit(summary: &mut Summary, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::to_value(&*summary).unwrap();
    change(&mut json);
    *summary = serde_json::from_value(json).unwrap();
}

/// Returns the outcomes of a run's student.
fn student(run: &mut RunRecord) -> &mut Outcomes {
    run.outcomes.as_mut().unwrap().student.as_mut().unwrap()
}

/// Returns the same run with its student as its teacher.
fn as_teacher(mut run: RunRecord) -> RunRecord {
    run.summary.teacher = run.summary.student.take();
    let outcomes = run.outcomes.as_mut().unwrap();
    outcomes.teacher = outcomes.student.take();
    run
}

/// Returns `n` values: the first `right` are 1, the others 0.
fn first_right(right: usize, n: usize) -> Vec<f64> {
    (0..n).map(|row| if row < right { 1.0 } else { 0.0 }).collect()
}

fn entry<'a>(label: &str, runs: impl IntoIterator<Item = &'a RunRecord>) -> Entry<'a> {
    Entry { label: label.to_owned(), settings: BTreeMap::new(), runs: runs.into_iter().collect() }
}

fn header() -> Header {
    Header { name: "all".to_owned(), baseline: "finetune".to_owned() }
}

fn compared(entries: &[Entry<'_>], teacher: Option<&RunRecord>) -> Comparison {
    compare(header(), entries, teacher, vec![]).unwrap()
}

fn error(entries: &[Entry<'_>]) -> String {
    compare(header(), entries, None, vec![]).unwrap_err().to_string()
}

/// Returns the cells of the first line of a text table that contains `label`, without the borders.
fn cells(text: &str, label: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with('│') && line.contains(label)).unwrap();
    line.trim_matches('│').split('┆').map(|cell| cell.trim().to_owned()).collect()
}

/// Reads CSV: the cells of each line by the title of their column.
fn records(csv: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let titles: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let cells = |record: csv::StringRecord| titles.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
    reader.records().map(|record| cells(record.unwrap())).collect()
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-12
}

fn sweep(tries: &[(f64, bool)]) -> Sweep {
    let settings = |at: usize| BTreeMap::from([("train.lr".to_owned(), format!("{}e-4", at + 1))]);
    let tries = tries.iter().enumerate().map(|(at, &(score, chosen))| Try { settings: settings(at), score, chosen });
    Sweep { label: "kd".to_owned(), layers: 1, tries: tries.collect() }
}
