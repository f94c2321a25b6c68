//! Runs, entries and sweeps that cannot be compared.

use nb_report::{RunRecord, compare};
use serde_json::{Value, json};

use super::{edit, entry, error, header, run, student, sweep};

#[test]
fn an_error_about_two_different_runs_names_both_folders() {
    let plain = run("finetune", 1, 0, &[1.0, 0.0, 1.0]);
    let check = |change: &dyn Fn(&mut RunRecord), expected: &str| {
        let mut kd = run("kd", 1, 0, &[1.0, 0.0, 1.0]);
        change(&mut kd);
        let found = error(&[entry("finetune", [&plain]), entry("kd", [&kd])]);
        assert_eq!(found, format!("runs/all/kd-1l-s0/{expected}"));
    };
    let other = "runs/all/finetune-1l-s0";

    check(
        &|run| student(run).rows = vec![0, 1, 7],
        &format!(
            "outcomes.safetensors: 3 rows, 1 of them not in {other}, expected the same 3 rows: the runs cannot be compared"
        ),
    );
    check(
        &|run| run.outcomes.as_mut().unwrap().split = Some("dev".to_owned()),
        &format!("summary.json: the measured split is dev, expected test as in {other}: the runs cannot be compared"),
    );
    check(
        &|run| edit(&mut run.summary, |summary| summary["data"]["test"]["blake3"] = json!("bb")),
        &format!("summary.json: blake3 of the test data is bb, expected aa as in {other}: the runs cannot be compared"),
    );
    check(
        &|run| run.summary.task = Some("recommend".to_owned()),
        &format!("summary.json: the task is recommend, expected topic as in {other}: the runs cannot be compared"),
    );
    check(
        &|run| {
            run.summary.primary = Some("macro_f1".to_owned());
            student(run).values.push(("macro_f1".into(), vec![1.0, 0.0, 0.0]));
        },
        &format!(
            "summary.json: the primary metric is macro_f1, expected accuracy as in {other}: the runs cannot be compared"
        ),
    );
}

#[test]
fn invalid_runs_are_rejected() {
    let check = |change: &dyn Fn(&mut RunRecord), expected: &str| {
        let mut kd = run("kd", 1, 0, &[1.0, 0.0, 1.0]);
        change(&mut kd);
        assert_eq!(error(&[entry("kd", [&kd])]), format!("runs/all/kd-1l-s0/{expected}"));
    };
    let values = |run: &mut RunRecord, values: &[f64]| {
        student(run).values = vec![("accuracy".into(), values.to_vec())];
    };
    check(
        &|run| run.outcomes = None,
        "outcomes.safetensors: no such file, expected the outcome of each row, which the comparison needs",
    );
    check(
        &|run| values(run, &[1.0, f64::NAN, 1.0]),
        "outcomes.safetensors: student.accuracy of row 1 is NaN, expected a finite number",
    );
    check(
        &|run| values(run, &[1.0]),
        "outcomes.safetensors: student.accuracy has length 1, expected 3, the length of `rows`",
    );
    check(
        &|run| student(run).rows = vec![0, 4, 4],
        "outcomes.safetensors: student.accuracy has row 4 twice, expected each row once",
    );
    check(&|run| student(run).values.clear(), "outcomes.safetensors: no student.accuracy");
    check(
        &|run| {
            values(run, &[]);
            student(run).rows.clear();
        },
        "outcomes.safetensors: student.accuracy has no entry, expected at least one",
    );
    check(
        &|run| edit(&mut run.summary, |summary| summary["student"]["test"]["accuracy"] = json!(0.25)),
        "outcomes.safetensors: mean of student.accuracy is 0.6666666666666666, expected the 0.25 of summary.json",
    );
    check(
        &|run| edit(&mut run.summary, |summary| summary["student"]["test"]["accuracy"] = json!(null)),
        "summary.json: expected a number for `accuracy` of the student",
    );
    let with = |key: &'static str, value: Value| {
        move |run: &mut RunRecord| edit(&mut run.summary, |summary| summary[key] = value.clone())
    };
    check(&with("student", json!(null)), "summary.json: no student, expected its measurements");
    check(
        &|run| edit(&mut run.summary, |summary| summary["student"]["layers"] = json!(-1)),
        "summary.json: expected a whole number for `layers` of the student",
    );
    check(&with("seed", json!("0")), "summary.json: expected a whole number for `seed`");
    check(&with("primary", json!(null)), "summary.json: expected a string for `primary`");
}

#[test]
fn invalid_entries_are_rejected() {
    let runs = [run("kd", 1, 0, &[1.0]), run("kd", 2, 1, &[1.0])];
    assert_eq!(error(&[]), "compare.json: no entry, expected at least one");
    assert_eq!(error(&[entry("kd", [])]), "compare.json: no run of kd, expected at least one");
    assert_eq!(
        error(&[entry("kd", &runs)]),
        "runs/all/kd-2l-s1/summary.json: found method kd, 2 layers and 1000000 parameters, expected kd, 1 and 500000 in \
         the runs of kd"
    );
    assert_eq!(
        error(&[entry("kd", [&runs[0], &runs[0]])]),
        "runs/all/kd-1l-s0/summary.json: found seed 0 twice, expected each seed once in the runs of kd"
    );
    assert_eq!(
        error(&[entry("kd", [&runs[0]]), entry("kd", [&runs[0]])]),
        "runs/all/kd-1l-s0/summary.json: a second entry kd at 1 layer, expected a unique label"
    );
}

#[test]
fn a_sweep_needs_finite_scores_and_exactly_one_chosen_try() {
    let kd = run("kd", 1, 0, &[1.0]);
    let with = |tries: &[(f64, bool)]| compare(header(), &[entry("kd", [&kd])], None, vec![sweep(tries)]);
    let bad = |tries: &[(f64, bool)]| with(tries).unwrap_err().to_string();
    assert_eq!(
        bad(&[(f64::NAN, true)]),
        "compare.json: the sweep of kd at 1 layer has a score of NaN, expected a finite number"
    );
    assert_eq!(bad(&[(0.5, false)]), "compare.json: the sweep of kd at 1 layer has 0 chosen settings, expected one");
    let found = with(&[(0.5, false), (0.75, true)]).unwrap();
    assert!(found.text().contains("\nkd, 1 layer: train.lr=2e-4 of 2 tried (0.7500)\n"), "{}", found.text());
}
