//! `task: embed`: a student that learns its teacher's vectors from texts alone.

use serde_json::Value;

use super::place::{Place, STUDENT, TRAIN_ROWS};
use super::train::assert_run;

/// Returns a folder with an encoder of four layers, `base`, that no run has trained for this task.
fn place() -> Place {
    let place = Place::searches();
    place.train(&["method={name: finetune}", "student.layers=4", "output=runs/first", "train.epochs=3"]).done();
    std::fs::rename(place.path("runs/first/student"), place.path("base")).unwrap();
    for file in ["newsbert.json", "head.safetensors", "modules.json"] {
        std::fs::remove_file(place.path(&format!("base/{file}"))).unwrap();
    }
    place
}

const TASK: [&str; 4] = ["task=embed", "teacher={checkpoint: base}", "method={name: newsbert}", "train.epochs=4"];
const CSV: &str = "data={format: csv, train: train.csv, columns: {text: [1, 2]}, max_tokens: 16, eval: [beir, dev]}";

const CSV_ALONE: &str = "data={format: csv, train: train.csv, columns: {text: [1, 2]}, max_tokens: 16}";

fn embed(place: &Place, sets: &[&str]) -> super::place::Ended {
    place.train(&[&TASK[..], sets].concat())
}

#[test]
fn a_student_learns_from_texts_without_labels() {
    let place = place();
    std::fs::create_dir(place.path("dev")).unwrap();
    let impressions = "1\tU1\tt\tN0 N3\tN6-1 N1-0\n2\tU2\tt\tN1\tN4-1 N2-0\n";
    place.write("dev/behaviors.tsv", impressions);
    place.write("dev/news.tsv", place.read("dev.tsv"));
    let ended = embed(&place, &[CSV]).done();
    assert_run(&place, "runs/tiny", &["student"]);
    assert!(!place.exists("runs/tiny-teacher"), "the teacher is used as it comes");
    let summary = place.summary("runs/tiny");
    let held_out = (TRAIN_ROWS / 10) as u64;
    let student = &summary["student"];
    assert!(student["texts"].as_u64().unwrap().abs_diff(held_out) <= 1, "{student}");
    let cosine = |model: &Value| model["cosine"].as_f64().unwrap();
    assert!((cosine(&summary["teacher"]) - 1.0).abs() < 1e-6, "the teacher against itself");
    assert_eq!(summary["teacher"]["overlap@10"].as_f64(), Some(1.0));
    assert!(cosine(student) > cosine(&summary["untouched"]["student"]), "{student}");
    for (folder, metric) in [("beir", "ndcg@10"), ("dev", "auc")] {
        let value = student["parts"][folder][metric].as_f64();
        assert!(value.is_some_and(|value| (0.0..=1.0).contains(&value)), "{folder}: {student}");
        assert!(ended.out.contains(&format!("{metric}, {folder}")), "{}", ended.out);
    }
    // The student's queries search the articles of the untouched teacher, and its own.
    for corpus_model in [&["--corpus-model", "base"][..], &[]] {
        let search = ["search", "--model", STUDENT, "--corpus", "beir", "--query", "storm in snow"];
        place.nb(&[&search[..], corpus_model].concat()).done();
    }
    let eval =
        ["eval", "--model", STUDENT, "--input", "beir", "--split", "dev", "--corpus-model", "base", "--threads", "2"];
    let found: Value = serde_json::from_str(&place.nb(&eval).done().out).unwrap();
    assert!(found["corpus_model"]["ndcg@10"].as_f64().is_some(), "{found}");
}

#[test]
fn texts_come_from_every_format() {
    let place = place();
    let formats = [
        "data={format: mind, train: train.tsv, dev: dev.tsv, max_tokens: 16}",
        "data={format: beir, train: beir, dev_fraction: 0.2, unlabelled: beir/corpus.jsonl, max_tokens: 16}",
        "data={format: csv, train: train.csv, test: dev.csv, columns: {text: [1]}, max_tokens: 16}",
    ];
    for (i, data) in formats.into_iter().enumerate() {
        let run = format!("runs/f{i}");
        embed(&place, &[data, &format!("output={run}"), "train.epochs=1"]).done();
        let samples = place.summary(&run)["train"]["samples"].as_u64().unwrap();
        assert!(samples > 30, "{data}: {samples}");
    }
    assert!(place.summary("runs/f2")["student"]["test"]["overlap@10"].as_f64().is_some());
}

/// The teacher's folder is the same, but its vectors are not.
#[test]
fn cached_vectors_of_a_teacher_belong_to_a_pooling() {
    let place = place();
    let run = |pooling: &str, outputs: &str| {
        let output = format!("runs/{pooling}-{outputs}");
        let sets =
            [format!("head.pooling={pooling}"), format!("teacher.outputs={outputs}"), format!("output={output}")];
        embed(&place, &[&[CSV_ALONE][..], &sets.iter().map(String::as_str).collect::<Vec<_>>()].concat()).done();
        let lines = place.text(&format!("{output}/metrics.jsonl"));
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        first["terms"]["vector"].as_f64().unwrap()
    };
    let [mean, cls] = ["mean", "cls"].map(|pooling| {
        let (cached, computed) = (run(pooling, "f32"), run(pooling, "compute"));
        assert!((cached - computed).abs() < 1e-4 * computed, "{pooling}: {cached}, expected {computed}");
        computed
    });
    assert!((mean - cls).abs() > 1e-2 * mean, "{mean} and {cls}");
}

#[test]
fn what_needs_labels_or_a_trained_teacher_is_refused() {
    let place = place();
    let refused: [(&str, &[&str]); 6] = [
        ("method={name: kd}", &["method.weights.soft", "there are no labels and no candidates"]),
        ("method={name: finetune}", &["method.teacher is none", "nothing but the teacher to learn from"]),
        ("method={name: newsbert, teacher: joint}", &["method.teacher is joint"]),
        ("data.negatives=2", &["data.negatives is given", "reads only texts"]),
        ("data.eval=[nowhere]", &["data.eval[0] is", "nowhere", "expected a folder with news.tsv"]),
        ("head.pooling=attentive", &["head.pooling is attentive", "attentive pooling has parameters to train"]),
    ];
    for (set, parts) in refused {
        embed(&place, &["data={format: csv, train: train.csv, columns: {text: [1]}}", set]).failed(parts);
    }
    embed(&place, &["data={format: csv, train: train.csv}"]).failed(&["data.columns", "{text: [1, 2]}"]);
    place.write("one.csv", "x,one text\n");
    let one = "data={format: csv, train: one.csv, columns: {text: [1]}}";
    embed(&place, &[one]).failed(&["one.csv", "development texts, expected at least one and two"]);
}
