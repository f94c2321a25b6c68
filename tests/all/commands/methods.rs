//! Every method on every task, from the configuration to models that load; frozen teachers, ensembles, narrower students,
//! unlabelled texts and test rows.

use std::collections::BTreeMap;

use nb_model::{Bert, Precision};
use nb_train::inference::SavedModel;
use safetensors::SafeTensors;
use serde_json::Value;
use tch::Device;

use super::bad_input::assert_refused;
use super::corpora::{CLICKS, DEV_QUERIES, DEV_READERS, DOCUMENTS, QUERIES, RELEVANT};
use super::place::{DEV_ROWS, FINETUNE, Place, STUDENT, TRAIN_ROWS, articles, mind};
use super::train::{MODEL_FILES, assert_holds, assert_model, assert_run, assert_same_model};

const FROZEN: [&str; 5] = ["kd", "distiller", "pkd", "distilbert", "tinybert"];
const TAUGHT: &str = "teacher.trained=[runs/taught/teacher]";

/// A task, and the metric that selects its best model.
#[derive(Clone, Copy)]
struct TaskMetric {
    task: &'static str,
    primary: &'static str,
}

const TOPIC: TaskMetric = TaskMetric { task: "topic", primary: "accuracy" };
const RECOMMEND: TaskMetric = TaskMetric { task: "recommend", primary: "auc" };
const RETRIEVE: TaskMetric = TaskMetric { task: "retrieve", primary: "ndcg@10" };

/// Trains a teacher for frozen methods in `runs/taught`.
fn teach(place: &Place) {
    place.train(&["method.name=teacher", "output=runs/taught"]).done();
}

/// Returns the steps in the log of a run.
fn steps(place: &Place, run: &str) -> Vec<Value> {
    let text = place.text(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "step").collect()
}

/// Returns the names of the terms of a logged step.
fn terms(step: &Value) -> Vec<&str> {
    step["terms"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// Fails unless a run has a plausible summary and models that load.
#[track_caller]
fn assert_trained(place: &Place, run: &str, TaskMetric { task, primary }: TaskMetric, roles: &[&str]) {
    assert_run(place, run, roles);
    let summary = place.summary(run);
    assert_eq!((&summary["task"], &summary["primary"]), (&task.into(), &primary.into()), "{run}");
    assert!(summary["train"]["steps"].as_u64().unwrap() > 0, "{summary}");
    for role in roles {
        let evaluation = &summary[role];
        let layers = if *role == "student" { 2 } else { 4 };
        assert_eq!(evaluation["layers"], layers, "{run}: {role}");
        assert!((0.0..=1.0).contains(&evaluation[primary].as_f64().unwrap()), "{run}: {evaluation}");
        assert_model(place, &format!("{run}/{role}"));
        SavedModel::load(&place.path(&format!("{run}/{role}")), Device::Cpu, Precision::F32).unwrap();
    }
    for step in steps(place, run) {
        let (terms, weights) = (&step["terms"], step["weights"].as_object().unwrap());
        let total: f64 = weights.iter().map(|(name, w)| w.as_f64().unwrap() * terms[name].as_f64().unwrap()).sum();
        assert!((total - step["loss"].as_f64().unwrap()).abs() <= 1e-9 * total.abs().max(1.0), "{step}");
    }
}

#[track_caller]
fn assert_every_method_trains(place: &Place, task: TaskMetric) {
    teach(place);
    let alone: [(&str, &[&str]); 3] =
        [("newsbert", &["student", "teacher"]), ("finetune", &["student"]), ("teacher", &["teacher"])];
    for (name, roles) in alone {
        let run = format!("runs/{name}");
        place.train(&[&format!("method.name={name}"), &format!("output={run}")]).done();
        assert_trained(place, &run, task, roles);
        assert_eq!(place.summary(&run)["method"], name);
    }
    let expected = place.summary("runs/taught");
    for name in FROZEN {
        let run = format!("runs/{name}");
        place.train(&[&format!("method.name={name}"), &format!("output={run}"), TAUGHT]).done();
        assert_trained(place, &run, task, &["student"]);
        assert!(!place.exists(&format!("{run}-teacher")), "{name} must not train a teacher");
        let summary = place.summary(&run);
        assert_eq!(summary["method"], name);
        let off =
            summary["teacher"][task.primary].as_f64().unwrap() - expected["teacher"][task.primary].as_f64().unwrap();
        assert!(off.abs() < 1e-12, "{name}: the teacher is evaluated, too: {summary}");
    }
    for (name, stages) in [
        ("newsbert", vec![vec!["embedding", "hard", "hidden", "pooled", "soft", "teacher"]]),
        ("kd", vec![vec!["hard", "soft"]]),
        ("distiller", vec![vec!["divergence", "hard"]]),
        ("pkd", vec![vec!["hard", "patience", "soft"]]),
        ("distilbert", vec![vec!["cosine", "hard", "soft"]]),
        ("tinybert", vec![vec!["attention", "embedding", "hidden"], vec!["soft"]]),
    ] {
        let found = stages_of(place, &format!("runs/{name}"));
        assert_eq!(found, stages, "{name}");
    }
}

/// Returns the sorted terms of each stage of a run.
fn stages_of(place: &Place, run: &str) -> Vec<Vec<String>> {
    let sorted_terms = |step: &Value| {
        let mut names: Vec<String> = terms(step).into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    let mut stages: Vec<Vec<String>> = steps(place, run).iter().map(sorted_terms).collect();
    stages.dedup();
    stages
}

#[test]
fn every_method_trains_on_topics() {
    assert_every_method_trains(&Place::new(), TOPIC);
}

#[test]
fn every_method_trains_on_recommendation() {
    assert_every_method_trains(&Place::readers(), RECOMMEND);
}

#[test]
fn every_method_trains_on_retrieval() {
    assert_every_method_trains(&Place::searches(), RETRIEVE);
}

#[test]
fn a_frozen_teacher_is_trained_once_and_reused() {
    let place = Place::new();
    let kd = ["method.name=kd", "teacher.train={epochs: 3, lr: 2e-3}"];
    let first = place.train(&kd).done();
    assert!(
        first.err.contains("training the teacher first") && first.err.contains("runs/tiny-teacher"),
        "{}",
        first.err
    );
    assert_holds(&place, "runs", &["tiny", "tiny-teacher"]);
    assert_run(&place, "runs/tiny-teacher", &["teacher"]);
    assert_run(&place, "runs/tiny", &["student"]);
    let steps = |run: &str| place.summary(run)["train"]["steps"].clone();
    assert_eq!(
        (steps("runs/tiny"), steps("runs/tiny-teacher")),
        ((TRAIN_ROWS / 8).into(), (3 * TRAIN_ROWS / 8).into())
    );

    let second = place.train(&kd).done();
    assert!(second.err.contains("the teacher is already trained"), "{}", second.err);
    assert_holds(&place, "runs", &["tiny", "tiny-2", "tiny-teacher"]);
    assert_same_model(&place, STUDENT, "runs/tiny-2/student");
    // Another method with the same teacher settings reuses it; another seed trains another teacher.
    place.train(&[&kd[..], &["method.name=pkd"]].concat()).done();
    assert_holds(&place, "runs", &["tiny", "tiny-2", "tiny-3", "tiny-teacher"]);
    place.train(&[&kd[..], &["seed=1"]].concat()).done();
    assert_holds(&place, "runs", &["tiny", "tiny-2", "tiny-3", "tiny-4", "tiny-teacher", "tiny-teacher-2"]);
}

/// A checkpoint that was trained for the task is used directly.
#[test]
fn a_trained_checkpoint_is_not_trained_again() {
    let place = Place::new();
    teach(&place);
    let ended = place.train(&["method.name=kd", "teacher={checkpoint: runs/taught/teacher}"]).done();
    assert!(!ended.err.contains("training the teacher first"), "{}", ended.err);
    assert_holds(&place, "runs", &["taught", "tiny"]);
    let retrieval = Place::searches();
    retrieval.write("taught/x", "");
    for (name, bytes) in MODEL_FILES.map(|name| (name, place.read(&format!("runs/taught/teacher/{name}")))) {
        retrieval.write(&format!("taught/{name}"), bytes);
    }
    let refused = retrieval.train(&["method.name=kd", "teacher.trained=[taught]"]);
    refused.failed(&["teacher", "taught", "it was trained for topic, expected retrieve"]);
}

#[test]
fn teacher_outputs_are_cached_per_teacher() {
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
    assert_same_model(&place, STUDENT, "runs/tiny-2/student");
    train("other", &[]);
    assert_eq!(place.names(outputs).len(), 2, "another teacher has its own files");
    train("taught", &["teacher.outputs=bf16"]);
    assert!(place.names(&folder).contains("first-2.bf16.safetensors"));
    // Outputs are not cached if they are used only once, or if attention scores are needed.
    let place = Place::new();
    teach(&place);
    place.train(&["method.name=kd", TAUGHT]).done();
    place.train(&["method.name=tinybert", "train.epochs=2", TAUGHT]).done();
    place.train(&["method.name=kd", "train.epochs=2", "teacher.outputs=compute", TAUGHT]).done();
    assert!(!place.exists(outputs));
}

#[test]
fn several_teachers_form_an_ensemble() {
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
        assert_trained(&place, run, TOPIC, &["student"]);
    }
    let weights = |run: &str| place.read(&format!("{run}/student/model.safetensors"));
    assert!(weights("runs/mean") != weights("runs/one"), "the second teacher contributes");
    let patience = place.train(&["method.name=kd", "teacher.train.patience=0"]);
    patience.failed(&["--set teacher.train.patience: teacher.train.patience is 0, expected at least 1"]);
    let epochs = place.train(&["method.name=kd", "teacher.train.epochs=0"]);
    epochs.failed(&["--set teacher.train.epochs: teacher.train.epochs is 0, but task: topic needs a trained head"]);
    place.train(&["method.name=kd", "teacher.train.lr=-1"]).failed(&["teacher.train.lr is -1, expected a number"]);
    place.train(&["method.name=kd", "teacher.trained=[nowhere]"]).failed(&["teacher.trained", "nowhere"]);
    place.train(&["teacher.trained=[runs/taught/teacher]"]).failed(&["teacher.trained is given", "joint"]);
}

/// The metadata and the number of rows of the outcomes of a run.
struct Outcomes {
    metadata: BTreeMap<String, String>,
    rows: usize,
}

fn outcomes(place: &Place, run: &str) -> Outcomes {
    let bytes = place.read(&format!("{run}/outcomes.safetensors"));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap().into_iter().collect();
    let rows = SafeTensors::deserialize(&bytes).unwrap().tensor("rows").unwrap().shape()[0];
    Outcomes { metadata, rows }
}

/// Fails unless a run with the test rows of `set` evaluates both models on them and writes their outcomes, and a run without
/// them uses the development rows.
#[track_caller]
fn assert_tested(place: &Place, set: &str, metric: &str, dev_rows: usize, test_rows: usize) {
    place.train(&["output=runs/untested"]).done();
    assert!(place.summary("runs/untested")["student"].get("test").is_none());
    let Outcomes { metadata, rows } = outcomes(place, "runs/untested");
    assert_eq!((metadata["split"].as_str(), rows), ("dev", dev_rows));
    let ended = place.train(&[set, "output=runs/tested"]).done();
    assert!(ended.out.contains("test "), "{}", ended.out);
    let summary = place.summary("runs/tested");
    for role in ["student", "teacher"] {
        let value = summary[role]["test"][metric].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&value) && summary[role][metric].is_number(), "{summary}");
    }
    let Outcomes { metadata, rows } = outcomes(place, "runs/tested");
    assert_eq!((metadata["split"].as_str(), metadata["primary"].as_str(), rows), ("test", metric, test_rows));
    assert_same_model(place, "runs/tested/student", "runs/untested/student");
}

#[test]
fn test_rows_are_evaluated_at_the_end_and_select_no_model() {
    let place = Place::new();
    place.write("test.tsv", mind(&articles(21, 9)));
    assert_tested(&place, "data.test=test.tsv", "accuracy", DEV_ROWS, 21);

    let place = Place::readers();
    let behaviors = place.text("mind/dev/behaviors.tsv");
    place.write("mind/test/news.tsv", place.read("mind/dev/news.tsv"));
    place.write(
        "mind/test/behaviors.tsv",
        behaviors.lines().take(10).map(|line| format!("{line}\n")).collect::<String>(),
    );
    assert_tested(&place, "data.test=mind/test", "auc", DEV_READERS, 10);

    let place = Place::searches();
    place.write("beir/qrels/test.tsv", place.read("beir/qrels/train.tsv"));
    assert_tested(&place, "data.test=beir", "ndcg@10", DEV_QUERIES, QUERIES);
    place.train(&["data.test=tokenizer"]).failed(&["data.test is", "tokenizer/corpus.jsonl"]);
}

#[test]
fn a_frozen_teacher_is_evaluated_on_test_rows() {
    let place = Place::new();
    teach(&place);
    place.write("test.tsv", mind(&articles(21, 9)));
    place.train(&["method.name=kd", TAUGHT, "data.test=test.tsv"]).done();
    let summary = place.summary("runs/tiny");
    assert!(
        summary["teacher"]["test"]["accuracy"].is_number() && summary["teacher"]["accuracy"].is_number(),
        "{summary}"
    );
    assert!(summary["teacher"].get("best_step").is_none());
}

/// Fails unless unlabelled texts are trained on and change the student.
#[track_caller]
fn assert_unlabelled_texts_used(place: &Place, file: &str, samples: usize) {
    place.train(&["output=runs/without"]).done();
    place.train(&[&format!("data.unlabelled={file}"), "output=runs/with"]).done();
    let train = |run: &str| place.summary(&format!("runs/{run}"))["train"].clone();
    assert_eq!(train("with")["samples"], samples, "rows with logits");
    let weights = |run: &str| place.read(&format!("runs/{run}/student/model.safetensors"));
    assert!(weights("with") != weights("without"));
    let ended = place.train(&[&format!("data.unlabelled={file}"), FINETUNE, "output=runs/fine"]).done();
    assert!(ended.err.contains("data.unlabelled is skipped"), "{}", ended.err);
    place.train(&["data.unlabelled=nowhere.tsv"]).failed(&["data.unlabelled", "nowhere.tsv"]);
}

#[test]
fn every_task_can_use_unlabelled_texts() {
    let place = Place::new();
    place.write("more.tsv", mind(&articles(20, 9)).replace("sports", "gardening"));
    assert_unlabelled_texts_used(&place, "more.tsv", TRAIN_ROWS + 20);
    let place = Place::readers();
    assert_unlabelled_texts_used(&place, "mind/dev/news.tsv", CLICKS);
    let place = Place::searches();
    place.write("more/corpus.jsonl", place.read("beir/corpus.jsonl"));
    assert_eq!(DOCUMENTS / RELEVANT, 3);
    assert_unlabelled_texts_used(&place, "more/corpus.jsonl", QUERIES * RELEVANT);
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
        assert_trained(&place, run, TOPIC, &["student"]);
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
fn settings_that_need_equal_shapes_are_refused() {
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
            &["student.hidden is 8", "starts from the teacher's layers", "needs 16, as in the teacher"],
        ),
        (&["student.heads=4"], &["student.heads is 4", "needs 2, as in the teacher; set student.init to random"]),
        (&["student={layers: 2, hidden: 9, heads: 2, init: random}"], &["student", "9"]),
        (
            &["student={layers: 2, intermediate: 40, init: random}"],
            &["method.beta", "needs layers of equal shape", "40 feed-forward units"],
        ),
    ];
    for (sets, parts) in refused {
        assert_refused(&place, sets, parts);
    }
}

/// Numbers that change during training, and stages from the configuration.
#[test]
fn ramps_and_custom_stages_train() {
    let place = Place::new();
    teach(&place);
    let ramps = "method={name: newsbert, beta: {from: 0, to: 0.3}, temperature: {from: 4, to: 1, course: cosine}, \
                   weights: {hidden: {from: 1, to: 0}}}";
    place.train(&[ramps, "train.epochs=2", "output=runs/ramps"]).done();
    let steps = steps(&place, "runs/ramps");
    let logged = |key: &str| -> Vec<f64> { steps.iter().map(|step| step[key].as_f64().unwrap()).collect() };
    let (beta, temperature) = (logged("beta"), logged("temperature"));
    assert_eq!((beta[0], *beta.last().unwrap(), temperature[0]), (0.0, 0.3, 4.0));
    assert!(beta.windows(2).all(|pair| pair[0] < pair[1]) && temperature.windows(2).all(|pair| pair[0] > pair[1]));
    let hidden: Vec<f64> = steps.iter().map(|step| step["weights"]["hidden"].as_f64().unwrap()).collect();
    assert_eq!((hidden[0], *hidden.last().unwrap()), (1.0, 0.0));

    let stages = "method={teacher: frozen, temperature: {rule: cwsm, base: 4, beta: 1}, stages: [{share: 1, weights: \
                  {hidden: 1}}, {share: 2, weights: {soft: 1, hard: 1}}]}";
    place.train(&[stages, TAUGHT, "train.epochs=3", "output=runs/stages"]).done();
    assert_trained(&place, "runs/stages", TOPIC, &["student"]);
    let stage: Vec<u64> =
        self::steps(&place, "runs/stages").iter().map(|step| step["stage"].as_u64().unwrap()).collect();
    assert_eq!(stage.iter().filter(|&&stage| stage == 0).count() * 3, stage.len(), "{stage:?}");
    assert!(stage.is_sorted());
}
