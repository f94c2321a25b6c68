//! Compares with every number of `golden/retrieval.json` (made by pytrec_eval and NumPy, see
//! `golden/make_retrieval.py`), to 1e-9.

use nb_eval::{Gain, Retrieved, query_metrics};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

#[track_caller]
fn close(name: &str, found: Option<f64>, expected: &Value) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{name}: no number in the file"));
    assert!(found.is_some_and(|found| (found - expected).abs() <= TOLERANCE), "{name}: {found:?}, expected {expected}");
}

#[test]
fn each_query_at_every_cutoff() {
    let golden: Value = serde_json::from_str(include_str!("golden/retrieval.json")).expect("JSON");
    let queries = golden["queries"].as_array().expect("a list");
    assert_eq!(queries.len(), 60);
    for (index, query) in queries.iter().enumerate() {
        let grades = |name: &str| -> Vec<u32> { serde_json::from_value(query[name].clone()).expect("grades") };
        let (retrieved, relevant) = (grades("retrieved"), grades("relevant"));
        let top = Retrieved { retrieved: &retrieved, relevant: &relevant };
        for k in [1, 3, 10, 100] {
            for (name, gain) in [("ndcg", Gain::Linear), ("exponential", Gain::Exponential)] {
                let found = top.ndcg_at(k, gain);
                close(&format!("{name}@{k} of query {index}"), found, &query[format!("{name}@{k}")]);
            }
            close(&format!("mrr@{k} of query {index}"), top.reciprocal_rank_at(k), &query[format!("mrr@{k}")]);
            close(&format!("recall@{k} of query {index}"), top.recall_at(k), &query[format!("recall@{k}")]);
        }
        let metrics = query_metrics(&top, Gain::Linear).expect("a document is relevant");
        close("ndcg10", Some(metrics.ndcg10), &query["ndcg@10"]);
        close("mrr10", Some(metrics.mrr10), &query["mrr@10"]);
        close("recall10", Some(metrics.recall10), &query["recall@10"]);
        close("recall100", Some(metrics.recall100), &query["recall@100"]);
    }
}
