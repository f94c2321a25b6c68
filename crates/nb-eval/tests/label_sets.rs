//! Compares with every number of `tests/golden/label_sets.json` in the workspace (made by scikit-learn, see the README there),
//! to 1e-9.

use std::path::Path;

use nb_eval::{ClassCounts, MultiLabel, average_precision};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

#[track_caller]
fn close(name: &str, found: Option<f64>, expected: &Value) {
    let (difference, expected) = (found.zip(expected.as_f64()).map(|(a, b)| (a - b).abs()), expected.as_f64());
    assert_eq!(found.is_some(), expected.is_some(), "{name}");
    assert!(
        difference.is_none_or(|difference| difference <= TOLERANCE),
        "{name}: found {found:?}, expected {expected:?}"
    );
}

#[test]
fn label_sets_are_measured_as_scikit_learn_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/label_sets.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert!(cases.len() >= 4);
    for (number, case) in cases.iter().enumerate() {
        let name = |metric: &str| format!("{metric} of case {number}");
        let set = |row: &Value| numbers(row).into_iter().map(|label| label as usize).collect::<Vec<usize>>();
        let truth: Vec<Vec<usize>> = case["truth"].as_array().unwrap().iter().map(set).collect();
        let probabilities: Vec<f64> = case["probabilities"].as_array().unwrap().iter().flat_map(numbers).collect();
        let thresholds = numbers(&case["thresholds"]);
        let labels = thresholds.len();
        let rows = MultiLabel::new(labels, &truth, &probabilities).unwrap();
        let decided = rows.decide(&thresholds).unwrap();
        close(&name("micro-F1"), Some(decided.micro_f1()), &case["micro_f1"]);
        close(&name("macro-F1"), Some(decided.macro_f1()), &case["macro_f1"]);
        close(&name("mean average precision"), rows.mean_average_precision().unwrap(), &case["map"]);

        let own = rows.decide(&rows.thresholds(1).unwrap()).unwrap();
        for (label, counts) in own.per_label.iter().enumerate() {
            let scores: Vec<f64> = probabilities.iter().skip(label).step_by(labels).copied().collect();
            let relevant: Vec<bool> = truth.iter().map(|row| row.contains(&label)).collect();
            let expected = &case["average_precision"][label];
            close(&name("average precision"), average_precision(&scores, &relevant).unwrap(), expected);
            let has_rows = !case["best_f1"][label].is_null();
            close(&name("F1"), has_rows.then(|| ClassCounts::f1(counts)), &case["best_f1"][label]);
        }
        let common = rows.decide(&rows.thresholds(usize::MAX).unwrap()).unwrap();
        close(&name("common F1"), Some(common.micro_f1()), &case["best_common_f1"]);
    }
}
