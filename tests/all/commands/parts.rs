//! Runs that train parts of the encoders.

use std::collections::BTreeMap;

use tch::Tensor;

use super::place::{Ended, Place, STUDENT, tensors, train_arguments};
#[cfg(unix)]
use super::resuming::{LONG, assert_same_run, killed_after, resume};
use super::train::assert_same_model;
use crate::support::max_difference;

/// Two of the teacher's four layers.
const TOP_TWO: &str = "teacher.train.layers=top 2";
/// NewsBERT's terms on the states of all layers, over which two epochs pass.
const TWO_EPOCHS: &str = "train.epochs=2";

fn weights(place: &Place, folder: &str) -> BTreeMap<String, Tensor> {
    tensors(&place.path(&format!("{folder}/model.safetensors"))).into_iter().collect()
}

/// A place with a checkpoint for the teacher: the random one of the configuration, saved by a run.
fn with_checkpoint() -> Place {
    let place = Place::new();
    place.train(&["method.name=teacher", "output=runs/first"]).done();
    let text = place.text("tiny.yaml");
    let random = text.lines().find(|line| line.trim_start().starts_with("random:")).unwrap();
    place.write("tiny.yaml", text.replace(random, "  checkpoint: runs/first/teacher"));
    for file in ["newsbert.json", "modules.json"] {
        std::fs::remove_file(place.path(&format!("runs/first/teacher/{file}"))).unwrap();
    }
    place
}

fn train(place: &Place, sets: &[&str]) -> Ended {
    place.train(sets).done()
}

fn plan(place: &Place, sets: &[&str]) -> Ended {
    let arguments = train_arguments(sets);
    place.nb(&[&["plan"], &arguments.iter().skip(1).map(String::as_str).collect::<Vec<_>>()[..]].concat())
}

#[test]
fn layers_that_are_not_trained_keep_the_values_of_the_checkpoint() {
    let place = with_checkpoint();
    train(&place, &[TOP_TWO, "student.train={layers: top 1, embeddings: true}"]);
    let (first, teacher, student) =
        (weights(&place, "runs/first/teacher"), weights(&place, "runs/tiny/teacher"), weights(&place, STUDENT));
    for (name, value) in &first {
        let is_top = ["encoder.layer.2.", "encoder.layer.3."].iter().any(|layer| name.starts_with(layer));
        assert_eq!(teacher[name].equal(value), !is_top, "the teacher's {name}");
        if let Some(value_of_student) = student.get(name) {
            assert_eq!(value_of_student.equal(value), name.starts_with("encoder.layer.0."), "the student's {name}");
        }
    }
}

/// The states come from other batches than those of a step, but a batch does not change the state of a text beyond rounding.
#[test]
fn cached_states_of_fixed_layers_change_no_result() {
    let place = with_checkpoint();
    let sets = |outputs| [TOP_TWO, "student.train.layers=top 1", TWO_EPOCHS, outputs];
    let ended = train(&place, &sets("teacher.outputs=f32"));
    for role in ["teacher", "student"] {
        assert!(ended.err.contains(&format!("caching the states of the {role}'s fixed layers")), "{}", ended.err);
    }
    let computed = [&sets("teacher.outputs=compute")[..], &["output=runs/computed"]].concat();
    let ended = train(&place, &computed);
    assert!(!ended.err.contains("caching"), "{}", ended.err);
    let short = [&sets("teacher.outputs=auto")[..], &["output=runs/short", "train.max_steps=7"]].concat();
    assert!(!train(&place, &short).err.contains("caching"), "seven steps use an output once at most");
    let (found, expected) = (weights(&place, STUDENT), weights(&place, "runs/computed/student"));
    let furthest = found.iter().map(|(name, value)| max_difference(value, &expected[name])).fold(0.0, f64::max);
    assert!(furthest < 1e-5, "{furthest:e}");
    // A second run reads the files of the first.
    train(&place, &[&sets("teacher.outputs=f32")[..], &["output=runs/again"]].concat());
    assert_same_model(&place, STUDENT, "runs/again/student");
}

#[test]
fn the_teacher_that_is_trained_first_takes_the_same_parts() {
    let place = with_checkpoint();
    train(&place, &["method.name=kd", "teacher.train={layers: top 1, epochs: 1}"]);
    let (first, teacher) = (weights(&place, "runs/first/teacher"), weights(&place, "runs/tiny-teacher/teacher"));
    for (name, value) in &first {
        assert_eq!(teacher[name].equal(value), !name.starts_with("encoder.layer.3."), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_that_trains_parts_resumes() {
    let place = with_checkpoint();
    let sets = [&LONG[..], &[TOP_TWO, "student.train={layers: top 1, embeddings: true}"]].concat();
    train(&place, &[&sets[..], &["output=runs/whole"]].concat());
    killed_after(&place, "runs/killed", &sets, 10);
    let ended: Ended = resume(&place, "runs/killed", &sets).output().unwrap().into();
    assert!(ended.done().err.contains("resuming"));
    assert_same_run(&place, "runs/whole", "runs/killed");
}

#[test]
fn a_plan_says_what_is_trained_and_blended() {
    let place = Place::new();
    let plan = |sets: &[&str]| plan(&place, sets).done().out;
    let out = plan(&[TOP_TWO, TWO_EPOCHS]);
    assert!(out.contains("of the teacher: encoder.layer.2 to 3"), "{out}");
    assert!(out.contains("no gradients are blended in: that part of the teacher is not trained"), "{out}");
    assert!(out.contains("of the mean gradients of those layers is blended in"), "{out}");
    assert!(out.contains("of states of the teacher's fixed layers, computed once"), "{out}");
    let out = plan(&["teacher.train.layers=top 3", "student.train={layers: none, embeddings: true}"]);
    assert!(out.contains("of the student: embeddings") && out.contains("it is not trained"), "{out}");
    assert!(!plan(&[]).contains("of the teacher:"), "everything is trained");
    let out = plan(&["teacher.train.layers=none", "student.train.layers=top 1"]);
    assert!(
        out.contains("method.beta has no effect") && out.contains("H_1 is constant, but compared with H_2"),
        "{out}"
    );
    assert!(out.contains("of the teacher: nothing but the head"), "{out}");
    let out = plan(&["method.name=kd", TOP_TWO]);
    assert!(out.contains("trained parts: encoder.layer.2 to 3"), "{out}");
}

#[test]
fn impossible_parts_are_errors_with_the_key() {
    let place = Place::new();
    place.train(&["teacher.train.layers=top 5"]).failed(&["teacher.train.layers", "top 5", "at most `top 4`"]);
    place.train(&["student.train.layers=top 3"]).failed(&["student.train.layers", "at most `top 2`"]);
    place.train(&["student.train.layers=2"]).failed(&["student.train.layers", "`top N`"]);
    place.train(&["student.train.layer=all"]).failed(&["student.train", "layer"]);
    place.train(&["student={layers: 2, init: random, train: {layers: top 1}}"]).failed(&["student.init is random"]);
    let constant = ["method={name: tinybert, share: []}", "student.train.layers=none"];
    place.train(&constant).failed(&["student.train.layers", "stage 1", "leaves constant"]);
    plan(&place, &["method.name=finetune", "teacher.train.layers=top 9"]).done(); // no teacher learns
    let place = Place::searches();
    let nothing = ["method={name: finetune}", "student.train.layers=none"];
    place.train(&nothing).failed(&["student.train.layers", "at least one layer or the embeddings"]);
    plan(&place, &nothing).failed(&["student.train.layers"]);
}

/// Articles that several readers and queries share, and texts in several stores.
#[test]
fn cached_states_change_no_result_where_articles_are_ranked() {
    for place in [Place::readers(), Place::searches()] {
        let sets = |outputs: &'static str, output: &'static str| {
            [
                "method={name: newsbert, teacher: joint, weights: {hard: 1, hidden: 1, patience: 1}}",
                TOP_TWO,
                outputs,
                output,
            ]
        };
        train(&place, &sets("teacher.outputs=f32", "output=runs/cached"));
        train(&place, &sets("teacher.outputs=compute", "output=runs/computed"));
        for role in ["teacher", "student"] {
            let (found, expected) =
                (weights(&place, &format!("runs/cached/{role}")), weights(&place, &format!("runs/computed/{role}")));
            let furthest = found.iter().map(|(name, value)| max_difference(value, &expected[name])).fold(0.0, f64::max);
            assert!(furthest < 1e-5, "{role}: {furthest:e}");
        }
    }
}
