//! Searches with all peculiarities of real files. The metrics of each query, computed from the qrels file and the scores, are
//! compared with pytrec_eval's values in `tests/golden/judgements.json`.

use std::io::Write;

use nb_data::beir::{Judged, Qrels};
use nb_data::{IdIndex, Repeated};
use nb_rank::{CorpusIndex, EVALUATION_DEPTH, Hit, JudgementScope, QueryVectors, TopKSearch, evaluate_hits};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect()
}

/// Vectors whose products are exactly the given scores: query i is the i-th unit vector, and a document is the column of its
/// scores.
struct Vectors {
    queries: Vec<f32>,
    documents: Vec<f32>,
}

fn vectors(scores: &Value) -> Vectors {
    let rows: Vec<Vec<f32>> = scores
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_array().unwrap().iter().map(|score| score.as_f64().unwrap() as f32).collect())
        .collect();
    let queries = (0..rows.len() * rows.len()).map(|i| f32::from(u8::from(i % (rows.len() + 1) == 0))).collect();
    let documents = (0..rows[0].len()).flat_map(|column| rows.iter().map(move |row| row[column])).collect();
    Vectors { queries, documents }
}

/// Returns the judged queries of a case and the hits of each.
fn searched(case: &Value, folder: &tempfile::TempDir) -> (Qrels, Vec<Vec<Hit>>) {
    let (corpus, queries) = (strings(&case["corpus"]), strings(&case["queries"]));
    let index = CorpusIndex::new(Repeated::Last, &corpus.iter().copied().map(Some).collect::<Vec<_>>());
    let query_index = IdIndex::with(Repeated::Last, queries.iter().copied().map(Some));
    let path = folder.path().join("test.tsv");
    std::fs::write(&path, case["qrels"].as_str().unwrap()).unwrap();
    let qrels = Qrels::read(&path, &query_index, index.ids(), 0.0).unwrap();

    let vectors = vectors(&case["scores"]);
    let hidden = queries.len();
    let judged = || qrels.queries.iter().map(|judged| judged.query as usize);
    let same_id = judged().map(|row| index.ids().row(queries[row].as_bytes())).collect();
    let queries = judged().flat_map(|row| vectors.queries[row * hidden..][..hidden].to_vec()).collect();
    let queries = QueryVectors { vectors: queries, hidden, same_id };
    let mut search = TopKSearch::new(queries, index.into(), EVALUATION_DEPTH);
    let rows: Vec<u32> = (0..corpus.len() as u32).collect();
    for (rows, vectors) in rows.chunks(7).zip(vectors.documents.chunks(7 * hidden)) {
        search.add(rows, vectors).unwrap();
    }
    (qrels, search.finish())
}

#[test]
fn metrics_of_searches_equal_those_of_pytrec_eval() {
    let golden = super::metrics::read(&super::own_folder().join("judgements.json"));
    let folder = tempfile::tempdir().unwrap();
    let mut n = 0;
    for (i, case) in golden["cases"].as_array().unwrap().iter().enumerate() {
        let (qrels, hits) = searched(case, &folder);
        let queries: Vec<&Judged> = qrels.queries.iter().collect();
        let found = evaluate_hits(&queries, &hits, JudgementScope::All).unwrap();
        let expected = case["each"].as_object().unwrap();
        assert_eq!(found.rows, expected.len(), "case {i}: evaluated queries");
        for (metric, values) in &found.outcomes.values {
            for (judged, value) in queries.iter().zip(values) {
                let id = case["queries"][judged.query as usize].as_str().unwrap();
                let expected = expected[id][metric.as_ref()].as_f64().unwrap();
                let location = format!("case {i}, query {id}: {metric}");
                assert!((value - expected).abs() <= TOLERANCE, "{location} {value}, expected {expected}");
            }
            let sum = expected.values().map(|query| query[metric.as_ref()].as_f64().unwrap()).sum::<f64>();
            assert!(
                (found.get(metric).unwrap() - sum / expected.len() as f64).abs() <= TOLERANCE,
                "case {i}: {metric}"
            );
        }
        n += expected.len();
    }
    assert!(n >= 350, "{n} queries");
    writeln!(std::io::stderr(), "conformance: {n} queries of judgements.json checked")
        .expect("standard error is writable");
}

/// The comparison detects a different rule: with gain 2^y − 1 over the documents of the corpus, the values differ.
#[test]
fn a_different_judging_rule_gives_different_metrics() {
    let golden = super::metrics::read(&super::own_folder().join("judgements.json"));
    let folder = tempfile::tempdir().unwrap();
    let differs = |case: &&Value| {
        let (qrels, hits) = searched(case, &folder);
        let queries: Vec<&Judged> = qrels.queries.iter().collect();
        let ndcg = |scope| evaluate_hits(&queries, &hits, scope).ok().and_then(|found| found.get("ndcg@10"));
        ndcg(JudgementScope::All) != ndcg(JudgementScope::InCorpus)
    };
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.iter().filter(differs).count() > cases.len() / 2);
}
