//! Resumed runs: the result equals that of an uninterrupted run, bit for bit.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nb_data::random::Stream;
use serde_json::Value;

use super::place::{Ended, Place, STUDENT, train_arguments, wait_until, with_file_limit};
use super::train::assert_same_model;

/// Settings of a long run: at least two updates per epoch, and a checkpoint after every fifth, in the middle of epochs.
pub(super) const LONG: [&str; 5] =
    ["train.epochs=60", "train.accumulate=3", "train.eval_every=7", "checkpoints.every=5", "train.lr=1e-3"];
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Returns `nb train --resume` with the folder `run`.
pub(super) fn resume(place: &Place, run: &str, sets: &[&str]) -> Command {
    let mut command = place.command();
    command.args(train_arguments(sets)).args(["--set", &format!("output={run}"), "--resume"]);
    command
}

pub(super) fn ended(mut command: Command) -> Ended {
    command.output().unwrap().into()
}

/// Kills a process without warning, like a machine failure.
pub(super) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts a run and kills it when it has this checkpoint.
pub(super) fn killed_after(place: &Place, run: &str, sets: &[&str], checkpoint: u64) {
    let child = resume(place, run, sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let folder = place.path(&format!("{run}/checkpoints/step-{checkpoint:09}"));
    wait_until(&folder.display().to_string(), || folder.exists());
    kill(child);
    assert!(!place.exists(&format!("{run}/summary.json")), "the run finished before it was killed");
}

/// Returns the lines of `metrics.jsonl` without speeds.
pub(super) fn lines(place: &Place, run: &str) -> Vec<Value> {
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        line.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_per_second") && key != "cost");
        line
    };
    place.text(&format!("{run}/metrics.jsonl")).lines().map(line).collect()
}

/// Fails unless two runs have the same results: models, outcomes, log and summary.
#[track_caller]
pub(super) fn assert_same_run(place: &Place, one: &str, other: &str) {
    for role in ["teacher", "student"].into_iter().filter(|role| place.exists(&format!("{one}/{role}"))) {
        assert_same_model(place, &format!("{one}/{role}"), &format!("{other}/{role}"));
    }
    let outcomes = |run: &str| place.read(&format!("{run}/outcomes.safetensors"));
    assert!(outcomes(one) == outcomes(other), "outcomes of {one} and {other}");
    assert_eq!(lines(place, one), lines(place, other), "{one} and {other}");
    let result = |run: &str| {
        let summary = place.summary(run);
        let scores =
            |role: &str| ["best_step", "accuracy", "macro_f1", "auc", "ndcg@10"].map(|key| summary[role][key].clone());
        (summary["train"]["steps"].clone(), scores("teacher"), scores("student"))
    };
    assert_eq!(result(one), result(other), "{one} and {other}");
    assert!(!place.exists(&format!("{other}/checkpoints")) && !place.exists(&format!("{other}/.lock")));
}

/// Fails unless a run that is killed after two of its checkpoints and resumed equals an uninterrupted run.
#[track_caller]
pub(super) fn assert_resumes_exactly(place: &Place, sets: &[&str]) {
    let sets = [&LONG, sets].concat();
    ended(resume(place, "runs/uninterrupted", &sets)).done();
    for checkpoint in [10, 25] {
        killed_after(place, "runs/resumed", &sets, checkpoint);
    }
    let last = ended(resume(place, "runs/resumed", &sets)).done();
    assert!(last.err.contains("resuming after step"), "{}", last.err);
    assert_same_run(place, "runs/uninterrupted", "runs/resumed");
}

#[test]
fn a_resumed_topic_run_is_bitwise_equal() {
    assert_resumes_exactly(&Place::new(), &[]);
}

#[test]
fn resumed_runs_in_bf16_and_in_two_stages_are_bitwise_equal() {
    assert_resumes_exactly(&Place::new(), &["precision=bf16"]);
    assert_resumes_exactly(&Place::new(), &["method.name=tinybert", "teacher.train={epochs: 1}", "train.patience=30"]);
}

#[test]
fn a_resumed_recommendation_run_is_bitwise_equal() {
    assert_resumes_exactly(&Place::readers(), &[]);
}

#[test]
fn a_resumed_retrieval_run_is_bitwise_equal() {
    assert_resumes_exactly(&Place::searches(), &[]);
}

/// `NB_KILLS` sets the number of kills. Their times are printed.
#[test]
fn a_run_killed_at_random_times_is_bitwise_equal_when_resumed() {
    let kills: usize = std::env::var("NB_KILLS").map_or(4, |n| n.parse().expect("NB_KILLS is a number"));
    let place = Place::new();
    let sets = [&LONG[..], &["train.epochs=200", "checkpoints.every=3"]].concat();
    let begin = Instant::now();
    ended(resume(&place, "runs/uninterrupted", &sets)).done();
    let duration = begin.elapsed();
    let mut stream = Stream::new(std::process::id().into());
    let mut run = 0;
    let folder = |run: usize| format!("runs/resumed{run}");
    for i in 1..=kills {
        // At most 60% of the run's duration; the kill may come before the first step.
        let delay = duration.mul_f64(stream.below(1000) as f64 / 1000.0 * 0.6);
        let mut started = resume(&place, &folder(run), &sets);
        let child = started.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        kill(child);
        let checkpoints = format!("{}/checkpoints", folder(run));
        let checkpoints = if place.exists(&checkpoints) { place.names(&checkpoints) } else { BTreeSet::default() };
        println!("kill {i}, run {run}, after {delay:.0?}: {checkpoints:?}");
        run += usize::from(place.exists(&format!("{}/summary.json", folder(run))));
    }
    for run in 0..=run {
        ended(resume(&place, &folder(run), &sets)).done(); // does nothing if the run is finished
        assert_same_run(&place, "runs/uninterrupted", &folder(run));
    }
}

/// The folder is that of a run killed after it has written its summary, but before it has removed its checkpoints.
#[test]
fn resuming_a_finished_run_removes_its_checkpoints_and_lock() {
    let place = Place::new();
    let sets = [&LONG[..], &["train.epochs=10"]].concat();
    ended(resume(&place, "runs/uninterrupted", &sets)).done();
    ended(resume(&place, "runs/resumed", &sets)).done();
    let checkpoint = place.path("runs/resumed/checkpoints/step-000000003");
    std::fs::create_dir_all(&checkpoint).unwrap();
    std::fs::write(checkpoint.join("state.json"), "{}").unwrap();
    std::fs::write(place.path("runs/resumed/.lock"), "1").unwrap();
    assert!(ended(resume(&place, "runs/resumed", &sets)).done().out.contains("already finished"));
    assert_same_run(&place, "runs/uninterrupted", "runs/resumed");
}

#[test]
fn a_signal_saves_a_checkpoint_from_which_a_changed_run_can_resume() {
    let place = Place::new();
    let sets = [&LONG[..], &["checkpoints.every=2h", "train.epochs=400"]].concat();
    let child = resume(&place, "runs/tiny", &sets).spawn().unwrap();
    let metrics = place.path("runs/tiny/metrics.jsonl");
    wait_until("the first evaluation", || {
        std::fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"eval\""))
    });
    let killed = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let stopped: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(stopped.code, Some(143), "{}", stopped.err);
    assert!(stopped.err.contains("--resume continues from here"), "{}", stopped.err);
    assert_eq!(place.names("runs/tiny/checkpoints").len(), 1);

    // Without --resume the unfinished run is an error; with it, a changed configuration is refused with every difference.
    place.train(&[]).failed(&["unfinished", "--resume", "--overwrite"]);
    let shorter = [&sets[..], &["train.epochs=399", "train.clip=2.0"]].concat();
    let refused = ended(resume(&place, "runs/tiny", &shorter));
    refused.failed(&[
        "train.clip was 1.0, is 2.0",
        "train.epochs was 400, is 399",
        "--accept train.clip --accept train.epochs",
    ]);
    let mut accepted = resume(&place, "runs/tiny", &shorter);
    accepted.args(["--accept", "train"]);
    ended(accepted).done();
    let again = ended(resume(&place, "runs/tiny", &shorter)).done();
    assert!(again.out.contains("already finished"), "{}", again.out);
}

#[test]
fn a_resumed_student_keeps_its_teacher() {
    let place = Place::new();
    let sets = [&LONG[..], &["method.name=kd", "teacher.train={epochs: 1}"]].concat();
    killed_after(&place, "runs/tiny", &sets, 10);
    let longer = [&sets[..], &["train.epochs=61", "checkpoints.keep=3"]].concat();
    ended(resume(&place, "runs/tiny", &longer))
        .failed(&["train.epochs was 60, is 61", "use --accept train.epochs to resume"]);
    let mut accepted = resume(&place, "runs/tiny", &longer);
    accepted.args(["--accept", "train.epochs"]);
    let resumed = ended(accepted).done();
    assert!(resumed.err.contains("resuming after step"), "{}", resumed.err);
    assert!(!place.exists("runs/tiny-teacher-2"), "no second teacher was trained");
    let shorter = [&sets[..], &["train.epochs=1", "output=runs/short"]].concat();
    killed_after(&place, "runs/short", &sets, 10);
    let mut too_short = resume(&place, "runs/short", &shorter);
    too_short.args(["--accept", "train.epochs"]);
    ended(too_short).failed(&["was saved after step", "ends with step 2"]);
}

#[test]
fn a_run_without_a_checkpoint_starts_over_only_with_the_same_configuration() {
    let place = Place::new();
    let sets = [&LONG[..], &["checkpoints.every=2h", "train.epochs=100000"]].concat();
    let child = resume(&place, "runs/tiny", &sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the best student", || place.exists(STUDENT));
    kill(child);
    let other = [&sets[..], &["train.epochs=2", "seed=1"]].concat();
    ended(resume(&place, "runs/tiny", &other)).failed(&["seed was 0, is 1", "train.epochs was 100000, is 2"]);
    assert!(place.exists(STUDENT));
    let mut accepted = resume(&place, "runs/tiny", &other);
    accepted.args(["--accept", "seed", "--accept", "train.epochs"]);
    let restarted = ended(accepted).done();
    assert!(restarted.err.contains("has no checkpoint yet; starting over"), "{}", restarted.err);
}

#[test]
fn resuming_with_different_data_is_refused() {
    let place = Place::new();
    killed_after(&place, "runs/tiny", &LONG, 5);
    let other = place.text("train.tsv").replace("goal", "match");
    place.write("train.tsv", other);
    ended(resume(&place, "runs/tiny", &LONG)).failed(&["data.train (content) was", "--accept data.train"]);
}

#[test]
fn a_damaged_checkpoint_is_skipped() {
    type Damage = fn(&Place, &str);
    let cut: Damage = |place, folder| {
        let name = format!("{folder}/state.safetensors");
        let bytes = place.read(&name);
        place.write(&name, &bytes[..bytes.len() / 2]);
    };
    let flip: Damage = |place, folder| {
        let name = format!("{folder}/state.safetensors");
        let mut bytes = place.read(&name);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        place.write(&name, bytes);
    };
    let missing: Damage = |place, folder| std::fs::remove_file(place.path(&format!("{folder}/state.json"))).unwrap();
    let place = Place::new();
    ended(resume(&place, "runs/uninterrupted", &LONG)).done();
    for (i, (damage, reason)) in
        [(cut, "bytes, expected"), (flip, "its content differs from what was written"), (missing, "state.json")]
            .into_iter()
            .enumerate()
    {
        let run = format!("runs/resumed{i}");
        killed_after(&place, &run, &LONG, 15);
        let newest =
            place.names(&format!("{run}/checkpoints")).into_iter().rfind(|name| name.starts_with("step")).unwrap();
        damage(&place, &format!("{run}/checkpoints/{newest}"));
        let resumed = ended(resume(&place, &run, &LONG)).done();
        for part in ["skipped", newest.as_str(), reason] {
            assert!(resumed.err.contains(part), "`{part}` is not in {}", resumed.err);
        }
        assert_same_run(&place, "runs/uninterrupted", &run);
    }
}

#[test]
fn a_second_run_in_the_same_folder_is_refused_while_the_first_is_active() {
    let place = Place::new();
    let sets = [&LONG[..], &["train.epochs=100000"]].concat();
    let first = resume(&place, "runs/tiny", &sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the log of the run", || place.exists("runs/tiny/metrics.jsonl"));
    let process = first.id().to_string();
    ended(resume(&place, "runs/tiny", &sets)).failed(&["another run uses", "runs/tiny", &process]);
    place.train(&[]).failed(&["another run uses"]);
    kill(first);
    place.train(&[]).failed(&["contains an unfinished run"]);
}

/// Models of 86 kB fit on this disk; the state of both with their moments does not.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_during_a_checkpoint_loses_only_that_checkpoint() {
    const KILOBYTES: u32 = 150;
    let sets = [&LONG[..], &["train.epochs=10"]].concat();
    let place = Place::new();
    killed_after(&place, "runs/tiny", &LONG, 5);
    let arguments = |sets: &[&str], rest: &[&str]| {
        let rest = ["--set", "output=runs/tiny"].iter().chain(rest).map(|&word| word.to_owned());
        train_arguments(sets).into_iter().chain(rest).collect::<Vec<_>>()
    };
    let complete = |place: &Place| -> Vec<String> {
        place.names("runs/tiny/checkpoints").into_iter().filter(|name| name.starts_with("step-")).collect()
    };
    let before = complete(&place);
    let stop = [&LONG[..], &["checkpoints.on_error=stop"]].concat();
    let stopped = with_file_limit(&place, KILOBYTES, &arguments(&stop, &["--resume"]));
    stopped.failed(&["step ", "cannot write", "state.safetensors", "File too large"]);
    assert_eq!(complete(&place), before, "earlier checkpoints remain");
    assert_eq!(place.names("runs/tiny/checkpoints").len(), before.len(), "no partial checkpoint remains");
    ended(resume(&place, "runs/tiny", &LONG)).done();

    let place = Place::new();
    let resumed = with_file_limit(&place, KILOBYTES, &arguments(&sets, &[])).done();
    assert!(resumed.err.contains("cannot save a checkpoint at step 5; earlier checkpoints remain"), "{}", resumed.err);
    assert!(place.exists("runs/tiny/summary.json"));
}

/// The weight exceeds f32, so every gradient is infinite and every update is skipped.
#[test]
fn updates_that_are_not_finite_can_be_skipped() {
    let place = Place::new();
    let overflow = "method.weights.hidden=1e300";
    place.train(&[overflow]).failed(&["step 1", "the gradient norm is NaN", "train.lr"]);
    let sets = [overflow, "train.not_finite=skip", "output=runs/skipped"];
    let ended = place.train(&sets).done();
    assert!(ended.err.contains("skipped, 6 so far"), "{}", ended.err);
    assert_eq!(place.summary("runs/skipped")["updates_left_out"], 6);
    // The saved model equals the initial one.
    place.train(&["train.lr=0", "output=runs/still"]).done();
    assert_same_model(&place, "runs/skipped/student", "runs/still/student");
}

/// `train.recompute` changes only memory, so a run can be resumed with a different value.
#[test]
fn recomputing_activations_does_not_change_a_run() {
    let place = Place::new();
    let recompute = "train.recompute=true";
    ended(resume(&place, "runs/kept", &[])).done();
    ended(resume(&place, "runs/recomputed", &[recompute])).done();
    assert_same_run(&place, "runs/kept", "runs/recomputed");
    assert!(ended(resume(&place, "runs/kept", &[recompute])).done().out.contains("already finished"));
    // With so many layers, activations take more memory than an evaluation.
    let deep = "teacher.random={layers: 48, hidden: 16, heads: 2, tokenizer: tokenizer}";
    let memory = |set: &str| {
        let sets = ["--set", deep, "--set", "train.batch=48", "--set", set];
        let page = place.nb(&[&["plan", "--config", "tiny.yaml"], &sets[..]].concat()).done().out;
        page.lines().find(|line| line.trim_start().starts_with("memory")).unwrap().to_owned()
    };
    assert_ne!(memory(recompute), memory("train.recompute=false"));
    place.train(&["train.recompute=sometimes"]).failed(&["train.recompute", "expected a boolean"]);
}
