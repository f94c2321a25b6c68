//! `task: retrieve` from a BEIR folder to search results: `nb train`, `nb eval` and `nb search`.

use std::collections::HashMap;

use nb_model::Precision;
use nb_train::inference::{SavedModel, VectorKind};
use serde_json::{Value, json};
use tch::Device;

use super::corpora::{DEV_QUERIES, DOCUMENTS, QUERIES, RELEVANT};
use super::place::{Ended, FINETUNE, Place, STUDENT, TOPICS, article, assert_same_metrics, assert_within_interval};
use super::train::{assert_model, assert_run};

const METRICS: [&str; 4] = ["ndcg@10", "mrr@10", "recall@10", "recall@100"];

/// Returns a folder with a trained student.
fn trained() -> Place {
    let place = Place::searches();
    place.train(&["train.epochs=5", FINETUNE]).done();
    place
}

fn eval(place: &Place, model: &str, split: &str) -> Value {
    let ended = place.nb(&["eval", "--model", model, "--input", "beir", "--split", split]).done();
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn eval_reproduces_the_metrics_of_a_run() {
    let place = Place::searches();
    place.train(&["train.epochs=2"]).done();
    assert_run(&place, "runs/tiny", &["student", "teacher"]);
    let summary = place.summary("runs/tiny");
    assert_eq!([&summary["task"], &summary["method"]], ["retrieve", "newsbert"]);
    let pairs = QUERIES * RELEVANT;
    assert_eq!((&summary["seed"], &summary["train"]["samples"]), (&0.into(), &(2 * pairs).into()));
    assert_eq!(summary["train"]["steps"], 2 * pairs.div_ceil(8));
    for role in ["student", "teacher"] {
        let evaluation = &summary[role];
        assert_eq!(evaluation["queries"], DEV_QUERIES);
        for metric in METRICS {
            assert_within_interval(evaluation, metric);
        }
        assert_eq!(evaluation["recall@100"], 1.0, "the corpus is smaller");
        let model = format!("runs/tiny/{role}");
        assert_same_metrics(&eval(&place, &model, "dev"), evaluation, "queries", &METRICS);
        assert_model(&place, &model);
        let description = place.json(&format!("{model}/newsbert.json"));
        assert_eq!((&description["task"], &description["fields"]), (&"retrieve".into(), &json!(["title", "abstract"])));
        assert!(description.get("history").is_none() && description.get("labels").is_none(), "{description}");
    }
    assert_eq!(eval(&place, STUDENT, "train")["queries"], QUERIES);
}

#[test]
fn a_student_learns_and_judged_negatives_change_training() {
    let place = Place::searches();
    let run = |sets: &[&str], output: &str| {
        let output = format!("output=runs/{output}");
        place.train(&[&[FINETUNE, &output], sets].concat()).done();
    };
    run(&["train.lr=0"], "untrained");
    run(&["train.epochs=5"], "trained");
    run(&["train.tokens=100"], "tokens");
    run(&["data.negatives=1"], "negatives");
    run(&["data.negatives=0"], "none");
    let ndcg = |run: &str| place.summary(&format!("runs/{run}"))["student"]["ndcg@10"].as_f64().unwrap();
    assert!(ndcg("trained") > 0.95 && ndcg("trained") > ndcg("untrained"), "{}", ndcg("trained"));
    for name in ["tokens", "negatives", "none"] {
        let samples = &place.summary(&format!("runs/{name}"))["train"]["samples"];
        assert_eq!(samples, QUERIES * RELEVANT, "{name}");
    }
    let weights = |run: &str| place.read(&format!("runs/{run}/student/model.safetensors"));
    assert!(weights("negatives") != weights("none"), "two articles are judged as not relevant");
}

#[test]
fn development_queries_can_be_held_out_or_come_from_another_folder() {
    let place = Place::searches();
    for file in ["corpus.jsonl", "queries.jsonl", "qrels/dev.tsv"] {
        place.write(&format!("other/{file}"), place.read(&format!("beir/{file}")));
    }
    let queries = |sets: &[&str], run: &str| {
        place.train(&[&[FINETUNE, &format!("output=runs/{run}")], sets].concat()).done();
        let summary = place.summary(&format!("runs/{run}"));
        let samples = summary["train"]["samples"].as_u64().unwrap() as usize;
        (samples / RELEVANT, summary["student"]["queries"].as_u64().unwrap() as usize)
    };
    assert_eq!(queries(&["data.dev=other"], "other"), (QUERIES, DEV_QUERIES));
    assert_eq!(queries(&["data.dev_fraction=0.25"], "fraction"), (QUERIES * 3 / 4, QUERIES / 4));
    std::fs::remove_file(place.path("beir/qrels/dev.tsv")).unwrap();
    assert_eq!(queries(&[], "none"), (QUERIES - 1, 1), "a tenth, rounded");
}

fn search(place: &Place, corpus: &str, rest: &[&str]) -> Ended {
    place.nb(&[&["search", "--model", STUDENT, "--corpus", corpus], rest].concat())
}

/// Returns the vector files of a folder.
fn vectors(place: &Place, folder: &str) -> Vec<String> {
    place.names(folder).into_iter().filter(|name| name.ends_with(".vectors.safetensors")).collect()
}

/// Returns the ids of the corpus with their scores q·h, the best first, computed one by one with the library.
fn by_hand(place: &Place, query: &str) -> Vec<(String, f64)> {
    let model = SavedModel::load(&place.path(STUDENT), Device::Cpu, Precision::F32).unwrap();
    let vector = |article| model.vectors(&[article], VectorKind::Head).unwrap().remove(0);
    let query_vector = vector(article(query, None));
    let score = |line: &str| {
        let article_json: Value = serde_json::from_str(line).unwrap();
        let vector = vector(article(article_json["title"].as_str().unwrap(), article_json["text"].as_str()));
        let score = query_vector.iter().zip(vector).map(|(q, h)| f64::from(q * h)).sum();
        (article_json["_id"].as_str().unwrap().to_owned(), score)
    };
    let mut found: Vec<(String, f64)> = place.text("beir/corpus.jsonl").lines().map(score).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found
}

#[test]
fn search_finds_articles_on_the_topic_of_the_query() {
    let place = trained();
    let queries = ["storm in snow", "coach after the goal"];
    let options = ["--query", queries[0], "--query", queries[1], "--top", "1000"];
    let lines = search(&place, "beir", &[&options[..], &["--output-format", "json"]].concat()).done().json_lines();
    assert_eq!(lines.len(), 2 * DOCUMENTS, "the complete corpus for each query");
    for (i, topic) in [2, 1].into_iter().enumerate() {
        let (query, lines) = (queries[i], &lines[i * DOCUMENTS..][..DOCUMENTS]);
        let expected = by_hand(&place, query);
        for (i, line) in lines.iter().enumerate() {
            let (rank, (id, score)) = (i + 1, &expected[i]);
            assert_eq!((&line["query"], &line["rank"]), (&json!(query), &json!(rank)));
            assert_eq!(line["id"], **id, "{query}, rank {rank}");
            assert!((line["score"].as_f64().unwrap() - score).abs() < 1e-4, "{line} against {score}");
            let text = line["text"].as_str().unwrap();
            if rank <= 5 {
                assert!(TOPICS[topic].1.iter().any(|word| text.contains(word)), "{query}: {line}");
            }
        }
    }

    let single = search(&place, "beir/corpus.jsonl", &["--query", queries[0]]).done().out;
    assert_eq!(single.lines().count(), 10);
    let best = format!("  {}  {}", lines[0]["id"].as_str().unwrap(), lines[0]["text"].as_str().unwrap());
    assert!(single.lines().next().unwrap().ends_with(&best), "{single}");
    let both = search(&place, "beir", &[&options[..4], &["--top", "2"]].concat()).done().out;
    let both: Vec<&str> = both.lines().collect();
    assert_eq!((both.len(), both[0], both[3]), (6, queries[0], queries[1]));
    assert!(single.starts_with(&both[1..3].join("\n")));
    let most = (usize::MAX / 2 + 1).to_string();
    let all = search(&place, "beir", &["--query", queries[0], "--top", &most]).done();
    assert_eq!(all.out.lines().count(), DOCUMENTS);
}

#[test]
fn vectors_are_cached_next_to_the_corpus_until_corpus_or_model_changes() {
    let place = trained();
    let query = ["--query", "storm in snow", "--top", "3"];
    let modified = |name: &str| std::fs::metadata(place.path(&format!("beir/{name}"))).unwrap().modified().unwrap();
    let first = search(&place, "beir", &query).done();
    assert!(first.err.contains("vectors of") && first.err.contains("cached in"), "{}", first.err);
    let [cached] = &vectors(&place, "beir")[..] else { panic!("{:?}", place.names("beir")) };
    assert!(cached.starts_with("corpus-"), "{cached}");
    assert_eq!(place.names("beir").len(), 4, "no other file remains: {:?}", place.names("beir"));
    let before = modified(cached);
    let again = search(&place, "beir", &query).done();
    assert!(again.err.contains("24 vectors of") && again.err.contains("read from"), "{}", again.err);
    assert_eq!((&again.out, modified(cached)), (&first.out, before));
    eval(&place, STUDENT, "dev");
    assert_eq!((vectors(&place, "beir").len(), modified(cached)), (1, before), "eval uses the same vectors");

    // A truncated file is not used.
    let intact = place.read(&format!("beir/{cached}"));
    place.write(&format!("beir/{cached}"), &intact[..intact.len() - 4]);
    assert_eq!(search(&place, "beir", &query).done().out, first.out);
    assert!(place.read(&format!("beir/{cached}")) == intact, "it is recreated");

    place.append("beir/corpus.jsonl", "{\"_id\": \"new\", \"text\": \"storm snow storm snow\"}\n");
    let more = search(&place, "beir", &["--query", "storm in snow", "--top", "25"]).done();
    assert!(more.err.contains("cached in") && more.out.contains("  new  "), "{}{}", more.err, more.out);
    assert_eq!((vectors(&place, "beir").len(), more.out.lines().count()), (2, 25));

    place.train(&[FINETUNE, "seed=1", "output=runs/other"]).done();
    let other = ["search", "--model", "runs/other/student", "--corpus", "beir"];
    let other = place.nb(&[&other[..], &query].concat()).done();
    assert!(other.err.contains("cached in"), "{}", other.err);
    assert_eq!(vectors(&place, "beir").len(), 3);
}

#[test]
fn queries_of_the_student_search_the_articles_of_the_teacher() {
    let place = Place::searches();
    place.train(&["train.epochs=5"]).done();
    let teacher = "runs/tiny/teacher";
    let query = ["--query", "storm in snow", "--top", "1000", "--output-format", "json"];
    let found = search(&place, "beir", &[&query[..], &["--corpus-model", teacher]].concat()).done().json_lines();
    let load = |folder: &str| SavedModel::load(&place.path(folder), Device::Cpu, Precision::F32).unwrap();
    let vector = |model: &SavedModel, article| model.vectors(&[article], VectorKind::Head).unwrap().remove(0);
    let (query, articles) = (vector(&load(STUDENT), article("storm in snow", None)), load(teacher));
    let scores: HashMap<String, f64> = place
        .text("beir/corpus.jsonl")
        .lines()
        .map(|line| {
            let json: Value = serde_json::from_str(line).unwrap();
            let h = vector(&articles, article(json["title"].as_str().unwrap(), json["text"].as_str()));
            let score = query.iter().zip(h).map(|(q, h)| f64::from(q * h)).sum();
            (json["_id"].as_str().unwrap().to_owned(), score)
        })
        .collect();
    assert_eq!(found.len(), DOCUMENTS);
    for hit in &found {
        let expected = scores[hit["id"].as_str().unwrap()];
        assert!((hit["score"].as_f64().unwrap() - expected).abs() < 1e-4, "{hit} against {expected}");
    }

    let eval = |rest: &[&str]| -> Value {
        let arguments = ["eval", "--model", STUDENT, "--input", "beir", "--split", "dev"];
        serde_json::from_str(&place.nb(&[&arguments[..], rest].concat()).done().out).unwrap()
    };
    let both = eval(&["--corpus-model", teacher]);
    let alone = eval(&[]);
    let mut own = both.clone();
    let mixed = own.as_object_mut().unwrap().remove("corpus_model").unwrap();
    assert_eq!(own, alone, "the student's own articles come first");
    assert_eq!(mixed["queries"], alone["queries"]);
    let same = eval(&["--corpus-model", STUDENT]);
    assert_eq!(same["corpus_model"], alone);
    // A model that learned nothing of the student's vectors ranks worse.
    place.train(&["seed=5", "train.max_steps=1", "output=runs/other"]).done();
    let other = eval(&["--corpus-model", "runs/other/teacher"]);
    let ndcg = |metrics: &Value| metrics["ndcg@10"].as_f64().unwrap();
    assert!(ndcg(&other["corpus_model"]) < ndcg(&mixed), "{other} against {mixed}");
}

#[test]
fn a_corpus_model_that_does_not_fit_is_refused() {
    let place = Place::searches();
    place.train(&[FINETUNE]).done();
    let narrow = ["teacher.random.hidden=8", "teacher.random.intermediate=16", "output=runs/narrow"];
    place.train(&[&[FINETUNE], &narrow[..]].concat()).done();
    place.train(&[FINETUNE, "data.fields=[title]", "output=runs/titles"]).done();
    let search = |folder: &str| search(&place, "beir", &["--query", "storm", "--corpus-model", folder]);
    search("nowhere").failed(&["--corpus-model is nowhere", "no such folder"]);
    search("runs/narrow/student").failed(&["--corpus-model has vectors of 8 units, expected 16"]);
    let eval = ["eval", "--model", STUDENT, "--input", "beir", "--split", "dev"];
    place
        .nb(&[&eval[..], &["--corpus-model", "runs/titles/student"]].concat())
        .failed(&["--corpus-model is runs/titles/student", "other fields"]);
}

#[test]
fn a_file_in_minds_format_is_a_corpus_too() {
    let place = trained();
    place.write("mind/news.tsv", place.read("dev.tsv"));
    let lines = search(&place, "mind/news.tsv", &["--query", "storm in snow", "--output-format", "json"]);
    let lines = lines.done().json_lines();
    assert_eq!((lines.len(), vectors(&place, "mind").len()), (10, 1));
    let row: usize = lines[0]["id"].as_str().unwrap()[1..].parse().unwrap();
    assert_eq!(TOPICS[row % TOPICS.len()].0, "weather", "{}", lines[0]);
}
