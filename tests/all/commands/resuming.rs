//! Runs that were stopped and go on: the result is that of a run that was not, bit for bit.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nb_data::random::Stream;
use serde_json::Value;

use super::place::{Ended, Place, train_arguments, with_file_limit};
use super::train::assert_same_model;

/// Two updates an epoch and, on the retrieval corpus, more; a checkpoint every fifth, so in the middle of epochs.
pub(super) const LONG: [&str; 5] =
    ["train.epochs=60", "train.accumulate=3", "train.eval_every=7", "checkpoints.every=5", "train.lr=1e-3"];
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// `nb train --resume` into the folder `run`.
pub(super) fn resume(place: &Place, run: &str, sets: &[&str]) -> Command {
    let mut command = place.command();
    command.args(train_arguments(sets)).args(["--set", &format!("output={run}"), "--resume"]);
    command
}

pub(super) fn ended(mut command: Command) -> Ended {
    command.output().unwrap().into()
}

/// Ends a process as a machine that goes away does.
pub(super) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts a run and ends it so once it has this checkpoint.
fn killed_after(place: &Place, run: &str, sets: &[&str], checkpoint: u64) {
    let child = resume(place, run, sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let folder = place.path(&format!("{run}/checkpoints/step-{checkpoint:09}"));
    let begin = Instant::now();
    while !folder.exists() {
        assert!(begin.elapsed() < PATIENCE, "no {}", folder.display());
        std::thread::sleep(Duration::from_micros(200));
    }
    kill(child);
    assert!(!place.exists(&format!("{run}/summary.json")), "the run was too fast to be ended in its course");
}

/// The lines of `metrics.jsonl` without what is measured by the clock.
pub(super) fn lines(place: &Place, run: &str) -> Vec<Value> {
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        line.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_per_second"));
        line
    };
    place.text(&format!("{run}/metrics.jsonl")).lines().map(line).collect()
}

/// Fails unless two runs left the same: models, what became of each row, every line of the log, and what the summary says.
#[track_caller]
pub(super) fn assert_same_run(place: &Place, one: &str, other: &str) {
    for role in ["teacher", "student"].into_iter().filter(|role| place.exists(&format!("{one}/{role}"))) {
        assert_same_model(place, &format!("{one}/{role}"), &format!("{other}/{role}"));
    }
    let outcomes = |run: &str| place.read(&format!("{run}/outcomes.safetensors"));
    assert!(outcomes(one) == outcomes(other), "outcomes of {one} and {other}");
    assert_eq!(lines(place, one), lines(place, other), "{one} and {other}");
    let result = |run: &str| {
        let summary = place.json(&format!("{run}/summary.json"));
        let own =
            |role: &str| ["best_step", "accuracy", "macro_f1", "auc", "ndcg@10"].map(|key| summary[role][key].clone());
        (summary["train"]["steps"].clone(), own("teacher"), own("student"))
    };
    assert_eq!(result(one), result(other), "{one} and {other}");
    assert!(!place.exists(&format!("{other}/checkpoints")) && !place.exists(&format!("{other}/.lock")));
}

/// A run in one go, and one that is ended after two of its checkpoints and goes on.
#[track_caller]
fn assert_goes_on(place: &Place, sets: &[&str]) {
    let sets = [&LONG, sets].concat();
    ended(resume(place, "runs/whole", &sets)).done();
    for checkpoint in [10, 25] {
        killed_after(place, "runs/parts", &sets, checkpoint);
    }
    let last = ended(resume(place, "runs/parts", &sets)).done();
    assert!(last.err.contains("going on after step"), "{}", last.err);
    assert_same_run(place, "runs/whole", "runs/parts");
}

#[test]
fn topics_go_on_to_the_bit() {
    assert_goes_on(&Place::new(), &[]);
}

#[test]
fn topics_go_on_to_the_bit_in_bf16_and_in_two_stages() {
    assert_goes_on(&Place::new(), &["precision=bf16"]);
    assert_goes_on(&Place::new(), &["method.name=tinybert", "teacher.train={epochs: 1}", "train.patience=30"]);
}

#[test]
fn recommendation_goes_on_to_the_bit() {
    assert_goes_on(&Place::readers(), &[]);
}

#[test]
fn retrieval_goes_on_to_the_bit() {
    assert_goes_on(&Place::searches(), &[]);
}

/// `NB_KILLS` says how often; the moments are printed.
#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_bit() {
    let kills: usize = std::env::var("NB_KILLS").map_or(4, |n| n.parse().expect("NB_KILLS is a number"));
    let place = Place::new();
    let sets = [&LONG[..], &["train.epochs=200", "checkpoints.every=3"]].concat();
    let begin = Instant::now();
    ended(resume(&place, "runs/whole", &sets)).done();
    let whole = begin.elapsed();
    let mut stream = Stream::new(std::process::id().into());
    let mut run = 0;
    let folder = |run: usize| format!("runs/parts{run}");
    for i in 1..=kills {
        // From before the first step to a good way into the run.
        let moment = whole.mul_f64(stream.below(1000) as f64 / 1000.0 * 0.6);
        let mut started = resume(&place, &folder(run), &sets);
        let child = started.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        kill(child);
        let checkpoints = format!("{}/checkpoints", folder(run));
        let checkpoints = if place.exists(&checkpoints) { place.names(&checkpoints) } else { BTreeSet::default() };
        println!("kill {i}, run {run}, after {moment:.0?}: {checkpoints:?}");
        run += usize::from(place.exists(&format!("{}/summary.json", folder(run))));
    }
    for run in 0..=run {
        ended(resume(&place, &folder(run), &sets)).done(); // of one that is finished nothing is done
        assert_same_run(&place, "runs/whole", &folder(run));
    }
}

/// As a run leaves it that is killed when its summary is there and its checkpoints are not removed yet.
#[test]
fn a_finished_run_is_rid_of_what_it_no_longer_needs() {
    let place = Place::new();
    let sets = [&LONG[..], &["train.epochs=10"]].concat();
    ended(resume(&place, "runs/whole", &sets)).done();
    ended(resume(&place, "runs/parts", &sets)).done();
    let checkpoint = place.path("runs/parts/checkpoints/step-000000003");
    std::fs::create_dir_all(&checkpoint).unwrap();
    std::fs::write(checkpoint.join("state.json"), "{}").unwrap();
    std::fs::write(place.path("runs/parts/.lock"), "1").unwrap();
    assert!(ended(resume(&place, "runs/parts", &sets)).done().out.contains("finished already"));
    assert_same_run(&place, "runs/whole", "runs/parts");
}

#[test]
fn a_signal_saves_a_checkpoint_and_another_end_is_reached_from_it() {
    let place = Place::new();
    let sets = [&LONG[..], &["checkpoints.every=2h", "train.epochs=400"]].concat();
    let child = resume(&place, "runs/tiny", &sets).spawn().unwrap();
    let metrics = place.path("runs/tiny/metrics.jsonl");
    let begin = Instant::now();
    while !std::fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"eval\"")) {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    let killed = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let stopped: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(stopped.code, Some(143), "{}", stopped.err);
    assert!(stopped.err.contains("--resume continues from here"), "{}", stopped.err);
    assert_eq!(place.names("runs/tiny/checkpoints").len(), 1);

    // Without --resume it is in the way; with it, another configuration is refused with every difference.
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
    assert!(again.out.contains("finished already"), "{}", again.out);
}

#[test]
fn a_student_goes_on_with_the_teacher_that_it_was_begun_with() {
    let place = Place::new();
    let sets = [&LONG[..], &["method.name=kd", "teacher.train={epochs: 1}"]].concat();
    killed_after(&place, "runs/tiny", &sets, 10);
    let longer = [&sets[..], &["train.epochs=61", "checkpoints.keep=3"]].concat();
    ended(resume(&place, "runs/tiny", &longer))
        .failed(&["train.epochs was 60, is 61", "--accept train.epochs resumes"]);
    let mut accepted = resume(&place, "runs/tiny", &longer);
    accepted.args(["--accept", "train.epochs"]);
    let went_on = ended(accepted).done();
    assert!(went_on.err.contains("going on after step"), "{}", went_on.err);
    assert!(!place.exists("runs/tiny-teacher-2"), "no other teacher was trained");
    let shorter = [&sets[..], &["train.epochs=1", "output=runs/short"]].concat();
    killed_after(&place, "runs/short", &sets, 10);
    let mut ends_before = resume(&place, "runs/short", &shorter);
    ends_before.args(["--accept", "train.epochs"]);
    ended(ends_before).failed(&["stands after step", "ends with step 2"]);
}

#[test]
fn a_run_without_a_checkpoint_begins_anew_only_as_the_run_that_it_was() {
    let place = Place::new();
    let sets = [&LONG[..], &["checkpoints.every=2h", "train.epochs=100000"]].concat();
    let child = resume(&place, "runs/tiny", &sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while !place.exists("runs/tiny/student") {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(child);
    let other = [&sets[..], &["train.epochs=2", "seed=1"]].concat();
    ended(resume(&place, "runs/tiny", &other)).failed(&["seed was 0, is 1", "train.epochs was 100000, is 2"]);
    assert!(place.exists("runs/tiny/student"));
    let mut accepted = resume(&place, "runs/tiny", &other);
    accepted.args(["--accept", "seed", "--accept", "train.epochs"]);
    let began = ended(accepted).done();
    assert!(began.err.contains("has no checkpoint yet: the run starts over"), "{}", began.err);
}

#[test]
fn other_data_are_refused_by_name() {
    let place = Place::new();
    killed_after(&place, "runs/tiny", &LONG, 5);
    let other = place.text("train.tsv").replace("goal", "match");
    place.write("train.tsv", other);
    ended(resume(&place, "runs/tiny", &LONG)).failed(&["data.train (content) was", "--accept data.train"]);
}

#[test]
fn a_broken_checkpoint_is_passed_over_by_name() {
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
    ended(resume(&place, "runs/whole", &LONG)).done();
    for (i, (damage, says)) in
        [(cut, "bytes, expected"), (flip, "its content is not what was written"), (missing, "state.json")]
            .into_iter()
            .enumerate()
    {
        let run = format!("runs/parts{i}");
        killed_after(&place, &run, &LONG, 15);
        let newest =
            place.names(&format!("{run}/checkpoints")).into_iter().rfind(|name| name.starts_with("step")).unwrap();
        damage(&place, &format!("{run}/checkpoints/{newest}"));
        let went_on = ended(resume(&place, &run, &LONG)).done();
        for part in ["skipped", newest.as_str(), says] {
            assert!(went_on.err.contains(part), "`{part}` is not in {}", went_on.err);
        }
        assert_same_run(&place, "runs/whole", &run);
    }
}

#[test]
fn a_second_run_into_one_folder_is_refused_while_the_first_is_at_work() {
    let place = Place::new();
    let sets = [&LONG[..], &["train.epochs=100000"]].concat();
    let first = resume(&place, "runs/tiny", &sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while !place.exists("runs/tiny/metrics.jsonl") {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = first.id().to_string();
    ended(resume(&place, "runs/tiny", &sets)).failed(&["another run uses", "runs/tiny", &process]);
    place.train(&[]).failed(&["another run uses"]);
    kill(first);
    place.train(&[]).failed(&["holds an unfinished run"]);
}

/// Models of 86 kB fit on this disk, the state of both with their moments does not.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_while_a_checkpoint_is_written_costs_no_more_than_that_checkpoint() {
    const KILOBYTES: u32 = 150;
    let sets = [&LONG[..], &["train.epochs=10"]].concat();
    let place = Place::new();
    killed_after(&place, "runs/tiny", &LONG, 5);
    let arguments = |sets: &[&str], rest: &[&str]| {
        let rest = ["--set", "output=runs/tiny"].iter().chain(rest).map(|&word| word.to_owned());
        train_arguments(sets).into_iter().chain(rest).collect::<Vec<_>>()
    };
    let whole = |place: &Place| -> Vec<String> {
        place.names("runs/tiny/checkpoints").into_iter().filter(|name| name.starts_with("step-")).collect()
    };
    let before = whole(&place);
    let stop = [&LONG[..], &["checkpoints.on_error=stop"]].concat();
    let stopped = with_file_limit(&place, KILOBYTES, &arguments(&stop, &["--resume"]));
    stopped.failed(&["step ", "cannot write", "state.safetensors", "File too large"]);
    assert_eq!(whole(&place), before, "those that were there stay");
    assert_eq!(place.names("runs/tiny/checkpoints").len(), before.len(), "and nothing beside them");
    ended(resume(&place, "runs/tiny", &LONG)).done();

    let place = Place::new();
    let went_on = with_file_limit(&place, KILOBYTES, &arguments(&sets, &[])).done();
    assert!(went_on.err.contains("no checkpoint at step 5, earlier ones stay"), "{}", went_on.err);
    assert!(place.exists("runs/tiny/summary.json"));
}

/// A weight that no f32 holds: every gradient is infinite, and so no update is made.
#[test]
fn updates_that_are_not_finite_are_left_out_if_the_configuration_says_so() {
    let place = Place::new();
    let overflow = "method.weights.hidden=1e300";
    place.train(&[overflow]).failed(&["step 1", "the gradient's norm is NaN", "train.lr"]);
    let sets = [overflow, "train.not_finite=skip", "output=runs/skipped"];
    let ended = place.train(&sets).done();
    assert!(ended.err.contains("skipped, 6 so far"), "{}", ended.err);
    assert_eq!(place.json("runs/skipped/summary.json")["updates_left_out"], 6);
    // What was saved is what the run began with.
    place.train(&["train.lr=0", "output=runs/still"]).done();
    assert_same_model(&place, "runs/skipped/student", "runs/still/student");
}

/// Memory is all that `train.recompute` changes, so a run may go on with the other setting.
#[test]
fn a_run_that_computes_layers_once_more_is_the_same_run() {
    let place = Place::new();
    let recompute = "train.recompute=true";
    ended(resume(&place, "runs/kept", &[])).done();
    ended(resume(&place, "runs/recomputed", &[recompute])).done();
    assert_same_run(&place, "runs/kept", "runs/recomputed");
    assert!(ended(resume(&place, "runs/kept", &[recompute])).done().out.contains("finished already"));
    // So many layers that what they keep is more than an evaluation takes.
    let deep = "teacher.random={layers: 48, hidden: 16, heads: 2, tokenizer: tokenizer}";
    let memory = |set: &str| {
        let sets = ["--set", deep, "--set", "train.batch=48", "--set", set];
        let page = place.nb(&[&["plan", "--config", "tiny.yaml"], &sets[..]].concat()).done().out;
        page.lines().find(|line| line.trim_start().starts_with("memory")).unwrap().to_owned()
    };
    assert_ne!(memory(recompute), memory("train.recompute=false"));
    place.train(&["train.recompute=sometimes"]).failed(&["train.recompute", "expected a boolean"]);
}
