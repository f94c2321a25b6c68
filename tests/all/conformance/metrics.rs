//! Golden metrics (`metrics*.json`), and their comparison with the values of nb-eval.

use std::path::Path;

use nb_eval::{Confusion, Impression, RankedList, ranking, ranks};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

pub(super) fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the values that nb-eval computes differently, one line each, which starts with the location in the file.
pub(super) fn mismatches(golden: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for section in ["impressions", "tied_auc"] {
        for (i, case) in list(&golden[section]).iter().enumerate() {
            let list = RankedList::new(&integers(&case["labels"]), &numbers(&case["scores"])).unwrap();
            let computed = |name: &str| metric(&list, name);
            compare(&mut lines, &format!("{section}[{i}]"), case, &["labels", "scores", "ranks"], computed);
            if case.get("ranks").is_some()
                && ranks(&numbers(&case["scores"])).unwrap() != integers::<usize>(&case["ranks"])
            {
                lines.push(format!("{section}[{i}].ranks: different"));
            }
        }
    }
    mean(&mut lines, golden);
    classification(&mut lines, &golden["classification"]);
    lines
}

fn mean(lines: &mut Vec<String>, golden: &Value) {
    let impressions: Vec<(Vec<u8>, Vec<f64>)> =
        list(&golden["impressions"]).iter().map(|case| (integers(&case["labels"]), numbers(&case["scores"]))).collect();
    let impressions: Vec<Impression> =
        impressions.iter().map(|(labels, scores)| Impression { labels, scores }).collect();
    let found = ranking(&impressions).unwrap();
    compare(lines, "mean", &golden["mean"], &[], |name| match name {
        "auc" => Some(found.auc),
        "mrr" => Some(found.mrr),
        "ndcg@5" => Some(found.ndcg5),
        "ndcg@10" => Some(found.ndcg10),
        _ => None,
    });
}

fn classification(lines: &mut Vec<String>, golden: &Value) {
    let confusion = Confusion::new(&integers(&golden["truth"]), &integers(&golden["predicted"])).unwrap();
    compare(lines, "classification", golden, &["truth", "predicted", "support"], |name| match name {
        "accuracy" => Some(confusion.accuracy()),
        "macro_f1" => Some(confusion.macro_f1()),
        _ => None,
    });
    let support: Vec<u64> = confusion.per_class().iter().map(|class| class.support()).collect();
    if golden.get("support").is_some_and(|expected| integers::<u64>(expected) != support) {
        lines.push("classification.support: different".into());
    }
}

/// Returns a metric of one list by its name in summaries.
fn metric(list: &RankedList, name: &str) -> Option<f64> {
    match name.split_once('@') {
        None if name == "auc" => list.auc(),
        None if name == "mrr" => list.mrr(),
        Some(("ndcg", k)) => list.ndcg(k.parse().ok()?),
        Some(("recall", k)) => list.recall_at(k.parse().ok()?),
        _ => None,
    }
}

/// Compares each number of `expected`, except those named in `ignored`, with the computed value of the same name.
fn compare(
    lines: &mut Vec<String>,
    location: &str,
    expected: &Value,
    ignored: &[&str],
    computed: impl Fn(&str) -> Option<f64>,
) {
    let expected = expected.as_object().unwrap_or_else(|| panic!("{location}: expected an object"));
    for (name, expected) in expected.iter().filter(|(name, _)| !ignored.contains(&name.as_str())) {
        let (found, expected) = (computed(name), expected.as_f64());
        match found.zip(expected) {
            Some((a, b)) if (a - b).abs() <= TOLERANCE => {}
            _ => lines.push(format!("{location}.{name}: found {found:?}, expected {expected:?}")),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected a list, found {value}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(|entry| entry.as_f64().unwrap()).collect()
}

fn integers<T: TryFrom<u64, Error: std::fmt::Debug>>(value: &Value) -> Vec<T> {
    list(value).iter().map(|entry| T::try_from(entry.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn a_number_off_by_more_than_the_tolerance_is_found() {
    let golden = read(&super::own_folder().join("metrics.json"));
    assert_eq!(mismatches(&golden), [""; 0]);
    for (pointer, name) in
        [("/impressions/7", "ndcg@10"), ("/mean", "mrr"), ("/tied_auc/0", "auc"), ("/classification", "macro_f1")]
    {
        let mut wrong = golden.clone();
        let number = &mut wrong.pointer_mut(pointer).unwrap()[name];
        *number = (number.as_f64().unwrap() + 2.0 * TOLERANCE).into();
        let found = mismatches(&wrong);
        assert!(found.len() == 1 && found[0].contains(name), "{pointer}: {found:?}");
    }
    let mut wrong = golden;
    wrong["impressions"][0]["ranks"].as_array_mut().unwrap().swap(0, 1);
    wrong["mean"]["hits"] = 1.0.into();
    assert_eq!(mismatches(&wrong).len(), 2);
}
