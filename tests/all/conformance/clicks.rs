//! Impressions with equal scores and with candidates that have no article, against MIND's evaluation of the ranks that
//! `nb rank` writes for them: `tests/golden/clicks.json`.

use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule};
use nb_eval::ranks;
use nb_model::Reader;
use nb_train::task::{Impressions, NewsVectors, Scores, evaluate_clicks, score_clicks};
use serde_json::Value;
use tch::Device;

const TOLERANCE: f64 = 1e-9;

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// The impressions with an article for every candidate that has a score, and their scores: a reader without a history is
/// the vector 1, and an article's vector is its score.
fn scored(impressions: &[Value]) -> (Behaviors, Scores) {
    let (mut lines, mut ids, mut vectors) = (String::new(), Vec::new(), Vec::new());
    for (i, impression) in impressions.iter().enumerate() {
        let candidates = list(&impression["labels"]).iter().zip(list(&impression["scores"])).enumerate();
        let candidates = candidates.map(|(j, (label, score))| {
            let id = format!("N{i}x{j}");
            if let Some(score) = score.as_f64() {
                vectors.push(score as f32);
                ids.push(id.clone());
            }
            format!("{id}-{label}")
        });
        lines += &format!("{i}\tU{i}\tt\t\t{}\n", candidates.collect::<Vec<_>>().join(" "));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let index = IdIndex::new(ids.iter().map(|id| Some(id.as_str())));
    let path = file.path().to_owned();
    let source = BehaviorSource { path, history: 50, clicks: ClickRule::Required, allowed_unusable: 0.0 };
    let behaviors = Behaviors::read(&source, &index).unwrap();
    let reader = Reader::zeros(1, None, Device::Cpu);
    let _ = tch::no_grad(|| reader.cold().shallow_clone().fill_(1.0));
    let all: Vec<u32> = (0..behaviors.len() as u32).collect();
    let scores = score_clicks(&NewsVectors::new(vectors, 1), &reader, &behaviors, &all).unwrap();
    (behaviors, scores)
}

#[test]
fn conformance_of_clicks_with_minds_evaluation_of_our_ranks() {
    let golden = super::metrics::read(&super::own_folder().join("clicks.json"));
    let impressions = list(&golden["impressions"]);
    assert!(impressions.len() >= 100);
    let (behaviors, scores) = scored(impressions);
    for (i, impression) in impressions.iter().enumerate() {
        let expected: Vec<u64> = list(&impression["ranks"]).iter().map(|rank| rank.as_u64().unwrap()).collect();
        let found: Vec<u64> = ranks(scores.of(i)).unwrap().into_iter().map(|rank| rank as u64).collect();
        assert_eq!(found, expected, "ranks of impression {i}");
    }
    let all: Vec<u32> = (0..impressions.len() as u32).collect();
    let found = evaluate_clicks(&Impressions { behaviors: &behaviors, which: &all, seen: None }, &scores).unwrap();
    for (metric, values) in &found.outcomes.values {
        for (i, (impression, value)) in impressions.iter().zip(values).enumerate() {
            let expected = impression[metric.as_ref()].as_f64().unwrap();
            assert!((value - expected).abs() <= TOLERANCE, "impression {i}: {metric} {value}, expected {expected}");
        }
        let mean = golden["mean"][metric.as_ref()].as_f64().unwrap();
        assert!((found.get(metric).unwrap() - mean).abs() <= TOLERANCE, "{metric}");
    }
    let tied = |impression: &&Value| {
        let of = |label: u64| {
            let all = list(&impression["labels"]).iter().zip(list(&impression["scores"]));
            all.filter(|(found, _)| found.as_u64() == Some(label)).map(|(_, score)| score.as_f64()).collect::<Vec<_>>()
        };
        of(1).iter().any(|score| of(0).contains(score))
    };
    let tied = impressions.iter().filter(tied).count() as u64;
    let what = "impressions in which a clicked and another article have equal scores";
    assert_eq!((tied > 50, found.counted), (true, vec![(what.into(), tied)]));
}
