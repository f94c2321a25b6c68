//! Every method on every task, from the configuration to models that load; frozen teachers, several of them, narrower
//! students, texts without labels and test rows.

use std::collections::BTreeMap;

use nb_model::{Bert, Precision};
use nb_train::inference::SavedModel;
use safetensors::SafeTensors;
use serde_json::Value;
use tch::Device;

use super::bad_input::assert_refused;
use super::corpora::{CLICKS, DEV_QUERIES, DEV_READERS, DOCUMENTS, QUERIES, RELEVANT};
use super::place::{DEV_ROWS, Place, TRAIN_ROWS, articles, mind};
use super::train::{MODEL_FILES, assert_holds, assert_run, assert_same_model};

const FROZEN: [&str; 5] = ["kd", "distiller", "pkd", "distilbert", "tinybert"];
const TAUGHT: &str = "teacher.trained=[runs/taught/teacher]";

/// Trains a teacher for the frozen methods of a place, in `runs/taught`.
fn teach(place: &Place) {
    place.train(&["method.name=teacher", "output=runs/taught"]).done();
}

/// Every step that a run logged.
fn steps(place: &Place, run: &str) -> Vec<Value> {
    let text = place.text(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "step").collect()
}

/// The names of the terms of a logged step.
fn terms(step: &Value) -> Vec<&str> {
    step["terms"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// Fails unless a run ended with a sane summary and with models that load.
#[track_caller]
fn assert_trained(place: &Place, run: &str, (task, metric): (&str, &str), roles: &[&str]) {
    assert_run(place, run, roles);
    let summary = place.json(&format!("{run}/summary.json"));
    assert_eq!((&summary["task"], &summary["primary"]), (&task.into(), &metric.into()), "{run}");
    assert!(summary["train"]["steps"].as_u64().unwrap() > 0, "{summary}");
    for role in roles {
        let own = &summary[role];
        let layers = if *role == "student" { 2 } else { 4 };
        assert_eq!(own["layers"], layers, "{run}: {role}");
        assert!((0.0..=1.0).contains(&own[metric].as_f64().unwrap()), "{run}: {own}");
        assert_holds(place, &format!("{run}/{role}"), &MODEL_FILES);
        SavedModel::load(&place.path(&format!("{run}/{role}")), Device::Cpu, Precision::F32).unwrap();
    }
    for step in steps(place, run) {
        let (terms, weights) = (&step["terms"], step["weights"].as_object().unwrap());
        let total: f64 = weights.iter().map(|(name, w)| w.as_f64().unwrap() * terms[name].as_f64().unwrap()).sum();
        assert!((total - step["loss"].as_f64().unwrap()).abs() <= 1e-9 * total.abs().max(1.0), "{step}");
    }
}

#[track_caller]
fn every_method_trains(place: &Place, task: (&str, &str)) {
    teach(place);
    let alone: [(&str, &[&str]); 3] =
        [("newsbert", &["student", "teacher"]), ("finetune", &["student"]), ("teacher", &["teacher"])];
    for (name, roles) in alone {
        let run = format!("runs/{name}");
        place.train(&[&format!("method.name={name}"), &format!("output={run}")]).done();
        assert_trained(place, &run, task, roles);
        assert_eq!(place.json(&format!("{run}/summary.json"))["method"], name);
    }
    let expected = place.json("runs/taught/summary.json");
    for name in FROZEN {
        let run = format!("runs/{name}");
        place.train(&[&format!("method.name={name}"), &format!("output={run}"), TAUGHT]).done();
        assert_trained(place, &run, task, &["student"]);
        assert!(!place.exists(&format!("{run}-teacher")), "{name} has a teacher");
        let summary = place.json(&format!("{run}/summary.json"));
        assert_eq!(summary["method"], name);
        let off = summary["teacher"][task.1].as_f64().unwrap() - expected["teacher"][task.1].as_f64().unwrap();
        assert!(off.abs() < 1e-12, "{name}: the teacher is measured along: {summary}");
    }
    let of = |name: &str| -> Vec<Vec<String>> {
        let mut stages: Vec<Vec<String>> = steps(place, &format!("runs/{name}"))
            .iter()
            .map(|step| terms(step).into_iter().map(str::to_owned).collect())
            .collect();
        stages.dedup();
        stages
    };
    for (name, stages) in [
        ("newsbert", vec![vec!["embedding", "hard", "hidden", "pooled", "soft", "teacher"]]),
        ("kd", vec![vec!["hard", "soft"]]),
        ("distiller", vec![vec!["divergence", "hard"]]),
        ("pkd", vec![vec!["hard", "patience", "soft"]]),
        ("distilbert", vec![vec!["cosine", "hard", "soft"]]),
        ("tinybert", vec![vec!["attention", "embedding", "hidden"], vec!["soft"]]),
    ] {
        let found: Vec<Vec<String>> = of(name)
            .into_iter()
            .map(|mut stage| {
                stage.sort();
                stage
            })
            .collect();
        assert_eq!(found, stages, "{name}");
    }
}

#[test]
fn every_method_trains_to_tell_topics() {
    every_method_trains(&Place::new(), ("topic", "accuracy"));
}

#[test]
fn every_method_trains_to_recommend() {
    every_method_trains(&Place::readers(), ("recommend", "auc"));
}

#[test]
fn every_method_trains_to_retrieve() {
    every_method_trains(&Place::searches(), ("retrieve", "ndcg@10"));
}

#[test]
fn a_frozen_teacher_is_trained_first_and_by_one_run_alone() {
    let place = Place::new();
    let kd = ["method.name=kd", "teacher.train={epochs: 3, lr: 2e-3}"];
    let first = place.train(&kd).done();
    assert!(
        first.err.contains("the teacher is trained first") && first.err.contains("runs/tiny-teacher"),
        "{}",
        first.err
    );
    assert_holds(&place, "runs", &["tiny", "tiny-teacher"]);
    assert_run(&place, "runs/tiny-teacher", &["teacher"]);
    assert_run(&place, "runs/tiny", &["student"]);
    let steps = |run: &str| place.json(&format!("{run}/summary.json"))["train"]["steps"].clone();
    assert_eq!(
        (steps("runs/tiny"), steps("runs/tiny-teacher")),
        ((TRAIN_ROWS / 8).into(), (3 * TRAIN_ROWS / 8).into())
    );

    let second = place.train(&kd).done();
    assert!(second.err.contains("the teacher was trained before"), "{}", second.err);
    assert_holds(&place, "runs", &["tiny", "tiny-2", "tiny-teacher"]);
    assert_same_model(&place, "runs/tiny/student", "runs/tiny-2/student");
    // Another method with the same teacher takes it too; another seed is another teacher.
    place.train(&[&kd[..], &["method.name=pkd"]].concat()).done();
    assert_holds(&place, "runs", &["tiny", "tiny-2", "tiny-3", "tiny-teacher"]);
    place.train(&[&kd[..], &["seed=1"]].concat()).done();
    assert_holds(&place, "runs", &["tiny", "tiny-2", "tiny-3", "tiny-4", "tiny-teacher", "tiny-teacher-2"]);
}

/// A checkpoint that was trained for the task is a teacher as it is.
#[test]
fn a_trained_checkpoint_is_not_trained_again() {
    let place = Place::new();
    teach(&place);
    let ended = place.train(&["method.name=kd", "teacher={checkpoint: runs/taught/teacher}"]).done();
    assert!(!ended.err.contains("trained first"), "{}", ended.err);
    assert_holds(&place, "runs", &["taught", "tiny"]);
    let places = Place::searches();
    places.write("taught/x", "");
    for (name, bytes) in MODEL_FILES.map(|name| (name, place.read(&format!("runs/taught/teacher/{name}")))) {
        places.write(&format!("taught/{name}"), bytes);
    }
    let refused = places.train(&["method.name=kd", "teacher.trained=[taught]"]);
    refused.failed(&["teacher", "taught", "it was trained for topic, expected retrieve"]);
}

#[test]
fn what_teachers_say_is_kept_by_their_weights() {
    let place = Place::new();
    teach(&place);
    place.train(&["method.name=teacher", "output=runs/other", "seed=1"]).done();
    let outputs = "cache/newsbert/tokens/outputs";
    let train = |teacher: &str, rest: &[&str]| {
        let teacher = format!("teacher.trained=[runs/{teacher}/teacher]");
        place.train(&[&["method.name=pkd", "train.epochs=2", &teacher], rest].concat()).done();
    };
    train("taught", &[]);
    let first = place.names(outputs);
    assert_eq!(first.len(), 1, "one store of training texts: {first:?}");
    let folder = format!("{outputs}/{}", first.first().unwrap());
    assert_holds(&place, &folder, &["first-2.f32.safetensors", "pooled.f32.safetensors"]);
    train("taught", &[]);
    assert_eq!(place.names(outputs), first);
    assert_same_model(&place, "runs/tiny/student", "runs/tiny-2/student");
    train("other", &[]);
    assert_eq!(place.names(outputs).len(), 2, "another teacher has files of its own");
    train("taught", &["teacher.outputs=bf16"]);
    assert!(place.names(&folder).contains("first-2.bf16.safetensors"));
    // A teacher that is heard once is not kept; nor is one whose scores are compared.
    let place = Place::new();
    teach(&place);
    place.train(&["method.name=kd", TAUGHT]).done();
    place.train(&["method.name=tinybert", "train.epochs=2", TAUGHT]).done();
    place.train(&["method.name=kd", "train.epochs=2", "teacher.outputs=compute", TAUGHT]).done();
    assert!(!place.exists(outputs));
}

#[test]
fn several_teachers_teach_together() {
    let place = Place::new();
    teach(&place);
    place.train(&["method.name=teacher", "output=runs/other", "seed=1"]).done();
    let both = "teacher.trained=[runs/taught/teacher, runs/other/teacher]";
    let runs: [(&str, &[&str]); 3] = [
        ("runs/mean", &[both]),
        ("runs/loss", &[both, "method.ensemble=loss", "train.epochs=2"]),
        ("runs/one", &[TAUGHT]),
    ];
    for (run, sets) in runs {
        place.train(&[sets, &["method.name=kd", &format!("output={run}")]].concat()).done();
        assert_trained(&place, run, ("topic", "accuracy"), &["student"]);
    }
    let weights = |run: &str| place.read(&format!("{run}/student/model.safetensors"));
    assert!(weights("runs/mean") != weights("runs/one"), "the second teacher counts");
    place.train(&["method.name=kd", "teacher.trained=[nowhere]"]).failed(&["teacher.trained", "nowhere"]);
    place.train(&["teacher.trained=[runs/taught/teacher]"]).failed(&["teacher.trained is given", "joint"]);
}

/// The metadata of a run's outcomes, and how many rows they have.
fn outcomes(place: &Place, run: &str) -> (BTreeMap<String, String>, usize) {
    let bytes = place.read(&format!("{run}/outcomes.safetensors"));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap().into_iter().collect();
    (metadata, SafeTensors::deserialize(&bytes).unwrap().tensor("rows").unwrap().shape()[0])
}

/// Fails unless the summary has `test` of both models where they are, and the outcomes are those of the test rows.
#[track_caller]
fn assert_tested(place: &Place, set: &str, metric: &str, (dev, test): (usize, usize)) {
    let (split, rows) = {
        place.train(&["output=runs/untested"]).done();
        assert!(place.json("runs/untested/summary.json")["student"].get("test").is_none());
        let (metadata, rows) = outcomes(place, "runs/untested");
        (metadata["split"].clone(), rows)
    };
    assert_eq!((split.as_str(), rows), ("dev", dev));
    let ended = place.train(&[set, "output=runs/tested"]).done();
    assert!(ended.out.contains("test "), "{}", ended.out);
    let summary = place.json("runs/tested/summary.json");
    for role in ["student", "teacher"] {
        let value = summary[role]["test"][metric].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&value) && summary[role][metric].is_number(), "{summary}");
    }
    let (metadata, rows) = outcomes(place, "runs/tested");
    assert_eq!((metadata["split"].as_str(), metadata["primary"].as_str(), rows), ("test", metric, test));
    assert_same_model(place, "runs/tested/student", "runs/untested/student");
}

#[test]
fn test_rows_are_measured_at_the_end_and_choose_nothing() {
    let place = Place::new();
    place.write("test.tsv", mind(&articles(21, 9)));
    assert_tested(&place, "data.test=test.tsv", "accuracy", (DEV_ROWS, 21));

    let place = Place::readers();
    let behaviors = place.text("mind/dev/behaviors.tsv");
    place.write("mind/test/news.tsv", place.read("mind/dev/news.tsv"));
    place.write(
        "mind/test/behaviors.tsv",
        behaviors.lines().take(10).map(|line| format!("{line}\n")).collect::<String>(),
    );
    assert_tested(&place, "data.test=mind/test", "auc", (DEV_READERS, 10));

    let place = Place::searches();
    place.write("beir/qrels/test.tsv", place.read("beir/qrels/train.tsv"));
    assert_tested(&place, "data.test=beir", "ndcg@10", (DEV_QUERIES, QUERIES));
    place.train(&["data.test=tokenizer"]).failed(&["data.test is", "tokenizer/corpus.jsonl"]);
}

/// A frozen teacher is measured on the test rows too.
#[test]
fn a_frozen_teacher_is_tested() {
    let place = Place::new();
    teach(&place);
    place.write("test.tsv", mind(&articles(21, 9)));
    place.train(&["method.name=kd", TAUGHT, "data.test=test.tsv"]).done();
    let summary = place.json("runs/tiny/summary.json");
    assert!(
        summary["teacher"]["test"]["accuracy"].is_number() && summary["teacher"]["accuracy"].is_number(),
        "{summary}"
    );
    assert!(summary["teacher"].get("best_step").is_none());
}

/// Fails unless texts without labels join a run and change the student.
#[track_caller]
fn assert_joined(place: &Place, file: &str, samples: usize) {
    place.train(&["output=runs/without"]).done();
    place.train(&[&format!("data.unlabelled={file}"), "output=runs/with"]).done();
    let train = |run: &str| place.json(&format!("runs/{run}/summary.json"))["train"].clone();
    assert_eq!(train("with")["samples"], samples, "rows of logits");
    let weights = |run: &str| place.read(&format!("runs/{run}/student/model.safetensors"));
    assert!(weights("with") != weights("without"));
    let ended = place.train(&[&format!("data.unlabelled={file}"), "method.name=finetune", "output=runs/fine"]).done();
    assert!(ended.err.contains("data.unlabelled is skipped"), "{}", ended.err);
    place.train(&["data.unlabelled=nowhere.tsv"]).failed(&["data.unlabelled", "nowhere.tsv"]);
}

#[test]
fn texts_without_labels_join_every_task() {
    let place = Place::new();
    place.write("more.tsv", mind(&articles(20, 9)).replace("sports", "gardening"));
    assert_joined(&place, "more.tsv", TRAIN_ROWS + 20);
    let place = Place::readers();
    assert_joined(&place, "mind/dev/news.tsv", CLICKS);
    let place = Place::searches();
    place.write("more/corpus.jsonl", place.read("beir/corpus.jsonl"));
    assert_eq!(DOCUMENTS / RELEVANT, 3);
    assert_joined(&place, "more/corpus.jsonl", QUERIES * RELEVANT);
}

const NARROW: &str = "student={layers: 2, hidden: 8, heads: 2, init: random}";

#[test]
fn a_narrower_student_learns_states_through_a_projection() {
    let place = Place::new();
    teach(&place);
    let hidden = "method={teacher: frozen, weights: {embedding: 1, hidden: 1, pooled: 1, soft: 1, hard: 1}}";
    let runs: [(&str, &[&str]); 4] = [
        ("runs/hidden", &[hidden]),
        ("runs/tinybert", &["method.name=tinybert"]),
        ("runs/pkd", &["method.name=pkd"]),
        ("runs/heads", &["method.name=distilbert", "student.heads=4"]),
    ];
    for (run, sets) in runs {
        place.train(&[&[NARROW, TAUGHT][..], sets, &[&format!("output={run}")]].concat()).done();
        assert_trained(&place, run, ("topic", "accuracy"), &["student"]);
        let bert = Bert::load(&place.path(&format!("{run}/student")), Device::Cpu, Precision::F32).unwrap();
        assert_eq!((bert.config().hidden_size, bert.config().intermediate_size), (8, 32), "{run}");
    }
    for place in [Place::readers(), Place::searches()] {
        teach(&place);
        place.train(&[NARROW, TAUGHT, hidden]).done();
        let config = place.json("runs/tiny/student/config.json");
        assert_eq!(config["hidden_size"], 8);
    }
}

#[test]
fn what_needs_equal_shapes_is_refused_by_name() {
    let place = Place::new();
    let refused: [(&[&str], &[&str]); 7] = [
        (&[NARROW], &["method.share is [pooling, dense]", "needs equal widths", "8 hidden units, the teacher 16"]),
        (&[NARROW, "method.share=[]"], &["method.beta is 0.15", "needs equal widths", "8 hidden units"]),
        (
            &["method.name=tinybert", "student={layers: 2, hidden: 8, heads: 4, init: random}"],
            &["method.weights.attention", "equal numbers of attention heads", "the student has 4 heads, the teacher 2"],
        ),
        (
            &["student.hidden=8"],
            &["student.hidden is 8", "starts from the teacher's layers", "16; expected student.init: random"],
        ),
        (&["student.heads=4"], &["student.heads is 4", "2; expected student.init: random"]),
        (&["student={layers: 2, hidden: 9, heads: 2, init: random}"], &["student", "9"]),
        (
            &["student={layers: 2, intermediate: 40, init: random}"],
            &["method.beta", "needs layers of equal shape", "40 feed-forward units"],
        ),
    ];
    for (sets, says) in refused {
        assert_refused(&place, sets, says);
    }
}

/// Methods whose numbers change, and stages of one's own.
#[test]
fn courses_and_stages_train() {
    let place = Place::new();
    teach(&place);
    let courses = "method={name: newsbert, beta: {from: 0, to: 0.3}, temperature: {from: 4, to: 1, course: cosine}, \
                   weights: {hidden: {from: 1, to: 0}}}";
    place.train(&[courses, "train.epochs=2", "output=runs/courses"]).done();
    let steps = steps(&place, "runs/courses");
    let of = |key: &str| -> Vec<f64> { steps.iter().map(|step| step[key].as_f64().unwrap()).collect() };
    let (beta, temperature) = (of("beta"), of("temperature"));
    assert_eq!((beta[0], *beta.last().unwrap(), temperature[0]), (0.0, 0.3, 4.0));
    assert!(beta.windows(2).all(|pair| pair[0] < pair[1]) && temperature.windows(2).all(|pair| pair[0] > pair[1]));
    let hidden: Vec<f64> = steps.iter().map(|step| step["weights"]["hidden"].as_f64().unwrap()).collect();
    assert_eq!((hidden[0], *hidden.last().unwrap()), (1.0, 0.0));

    let stages = "method={teacher: frozen, temperature: {rule: cwsm, base: 4, beta: 1}, stages: [{share: 1, weights: \
                  {hidden: 1}}, {share: 2, weights: {soft: 1, hard: 1}}]}";
    place.train(&[stages, TAUGHT, "train.epochs=3", "output=runs/stages"]).done();
    assert_trained(&place, "runs/stages", ("topic", "accuracy"), &["student"]);
    let stage: Vec<u64> =
        self::steps(&place, "runs/stages").iter().map(|step| step["stage"].as_u64().unwrap()).collect();
    assert_eq!(stage.iter().filter(|&&stage| stage == 0).count() * 3, stage.len(), "{stage:?}");
    assert!(stage.is_sorted());
}
