//! Compares with every number of `tests/golden/metrics.json` in the workspace (made by scikit-learn and NumPy, see the
//! README there), to 1e-9.

use std::path::Path;

use nb_eval::{Confusion, Impression, RankedList, ranking};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/metrics.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn list<T>(value: &Value, of: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().expect("a list").iter().map(|entry| of(entry).expect("an entry of the expected type")).collect()
}

fn labels(value: &Value) -> Vec<u8> {
    list(&value["labels"], |label| u8::try_from(label.as_u64()?).ok())
}

fn scores(value: &Value) -> Vec<f64> {
    list(&value["scores"], Value::as_f64)
}

#[track_caller]
fn close(name: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{name}: no number in the file"));
    assert!((found - expected).abs() <= TOLERANCE, "{name}: found {found}, expected {expected}");
}

#[test]
fn each_impression_and_the_means() {
    let golden = golden();
    let impressions = golden["impressions"].as_array().unwrap();
    assert!(impressions.len() >= 40, "{} impressions", impressions.len());
    let lists: Vec<_> = impressions.iter().map(|impression| (labels(impression), scores(impression))).collect();
    for (index, (impression, (labels, scores))) in impressions.iter().zip(&lists).enumerate() {
        let ranked = RankedList::new(labels, scores).unwrap();
        let found = [
            ("auc", ranked.auc()),
            ("mrr", ranked.mrr()),
            ("ndcg@5", ranked.ndcg(5)),
            ("ndcg@10", ranked.ndcg(10)),
            ("recall@5", ranked.recall_at(5)),
        ];
        for (name, found) in found {
            close(&format!("{name} of impression {index}"), found.unwrap(), &impression[name]);
        }
        let ranks = list(&impression["ranks"], |rank| usize::try_from(rank.as_u64()?).ok());
        assert_eq!(nb_eval::ranks(scores).unwrap(), ranks, "ranks of impression {index}");
    }
    let all: Vec<_> = lists.iter().map(|(labels, scores)| Impression { labels, scores }).collect();
    let found = ranking(&all).unwrap();
    for (name, found) in [("auc", found.auc), ("mrr", found.mrr), ("ndcg@5", found.ndcg5), ("ndcg@10", found.ndcg10)] {
        close(&format!("mean {name}"), found, &golden["mean"][name]);
    }
}

#[test]
fn ties_in_auc() {
    let golden = golden();
    let tied = golden["tied_auc"].as_array().unwrap();
    assert!(!tied.is_empty());
    for (index, case) in tied.iter().enumerate() {
        let ranked = RankedList::new(&labels(case), &scores(case)).unwrap();
        close(&format!("tied auc {index}"), ranked.auc().unwrap(), &case["auc"]);
    }
}

#[test]
fn classification() {
    let golden = &golden()["classification"];
    let classes = |name: &str| list(&golden[name], |class| usize::try_from(class.as_u64()?).ok());
    let confusion = Confusion::new(&classes("truth"), &classes("predicted")).unwrap();
    close("accuracy", confusion.accuracy(), &golden["accuracy"]);
    close("macro_f1", confusion.macro_f1(), &golden["macro_f1"]);
    let support: Vec<u64> = confusion.per_class().iter().map(|class| class.support()).collect();
    assert_eq!(support, list(&golden["support"], Value::as_u64));
}
