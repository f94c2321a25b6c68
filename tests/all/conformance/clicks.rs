//! Impressions with tied scores and with candidates without an article, compared with MIND's evaluation of the ranks that
//! `nb rank` writes for them: `tests/golden/clicks.json`.

use nb_data::behaviors::Behaviors;
use nb_eval::ranks;
use nb_model::{Reader, ScoreKind};
use nb_rank::{ArticleVectors, CandidateScores, Count, ScoredImpressions, evaluate_clicks, score_clicks};
use nb_train::task::{ReaderModel, ReaderTable};
use serde_json::Value;
use tch::Device;

use crate::support::read_behaviors;

const TOLERANCE: f64 = 1e-9;

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Returns the impressions, with an article for every candidate that has a score, and their scores. A reader without a
/// history has the vector 1, and the vector of an article is its score.
fn scored(impressions: &[Value]) -> (Behaviors, CandidateScores) {
    let (mut lines, mut ids, mut vectors) = (String::new(), Vec::new(), Vec::new());
    for (i, impression) in impressions.iter().enumerate() {
        let (labels, all_scores) = (list(&impression["labels"]), list(&impression["scores"]));
        let candidates = labels.iter().zip(all_scores).enumerate().map(|(j, (label, score))| {
            let id = format!("N{i}x{j}");
            if let Some(score) = score.as_f64() {
                vectors.push(score as f32);
                ids.push(id.clone());
            }
            format!("{id}-{label}")
        });
        lines += &format!("{i}\tU{i}\tt\t\t{}\n", candidates.collect::<Vec<_>>().join(" "));
    }
    let behaviors = read_behaviors(&lines, &ids);
    let reader = Reader::zeros(1, None, Device::Cpu);
    let _ = tch::no_grad(|| reader.cold().shallow_clone().fill_(1.0));
    let model = ReaderModel { reader: &reader, score: ScoreKind::Dot };
    let all: Vec<u32> = (0..behaviors.len() as u32).collect();
    let articles = ArticleVectors::new(vectors, 1);
    let scores = score_clicks(&articles, &ReaderTable::new(&articles, &model), &behaviors, &all).unwrap();
    (behaviors, scores)
}

#[test]
fn metrics_of_clicks_equal_minds_evaluation_of_our_ranks() {
    let golden = super::metrics::read(&super::own_folder().join("clicks.json"));
    let impressions = list(&golden["impressions"]);
    assert!(impressions.len() >= 100);
    let (behaviors, scores) = scored(impressions);
    for (i, impression) in impressions.iter().enumerate() {
        let expected: Vec<u64> = list(&impression["ranks"]).iter().map(|rank| rank.as_u64().unwrap()).collect();
        let found: Vec<u64> = ranks(scores.impression(i)).unwrap().into_iter().map(|rank| rank as u64).collect();
        assert_eq!(found, expected, "ranks of impression {i}");
    }
    let all: Vec<u32> = (0..impressions.len() as u32).collect();
    let found =
        evaluate_clicks(&ScoredImpressions { behaviors: &behaviors, impressions: &all, seen: None }, &scores).unwrap();
    for (metric, values) in &found.outcomes.values {
        for (i, (impression, value)) in impressions.iter().zip(values).enumerate() {
            let expected = impression[metric.as_ref()].as_f64().unwrap();
            assert!((value - expected).abs() <= TOLERANCE, "impression {i}: {metric} {value}, expected {expected}");
        }
        let mean = golden["mean"][metric.as_ref()].as_f64().unwrap();
        assert!((found.get(metric).unwrap() - mean).abs() <= TOLERANCE, "{metric}");
    }
    let tied = impressions.iter().filter(|impression| has_tie(impression)).count() as u64;
    let name = "impressions in which a clicked and another article have equal scores";
    assert_eq!((tied > 50, found.counted), (true, vec![Count::new(name, tied)]));
}

/// Returns true if a clicked candidate has the same score as one that was not clicked.
fn has_tie(impression: &Value) -> bool {
    let scores = |clicked: u64| {
        let candidates = list(&impression["labels"]).iter().zip(list(&impression["scores"]));
        let matching = candidates.filter(move |(label, _)| label.as_u64() == Some(clicked));
        matching.map(|(_, score)| score.as_f64()).collect::<Vec<_>>()
    };
    scores(1).iter().any(|score| scores(0).contains(score))
}
