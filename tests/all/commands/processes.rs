//! Runs on several processes: results equal those of a single process, and an error in one process is reported by all.

#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::place::{Ended, Place, train_arguments};
use super::resuming::{LONG, PATIENCE, assert_same_run, ended, kill, lines, resume};

/// Returns true if this build has process groups. Otherwise the test is skipped; `cargo xtask doctor` shows whether Gloo's
/// headers are missing.
pub(super) fn has_gloo() -> bool {
    nb_testing::require("gloo", nb_dist::AVAILABLE)
}

/// Returns `nb train` on `processes` processes with the output folder `run`.
pub(super) fn train(place: &Place, run: &str, processes: usize, sets: &[&str]) -> Command {
    let mut command = place.command();
    let (output, number) = (format!("output={run}"), processes.to_string());
    command.args(train_arguments(sets)).args(["--set", &output, "--processes", &number]);
    command
}

fn on_processes(mut command: Command, processes: usize) -> Command {
    command.args(["--processes", &processes.to_string()]);
    command
}

/// Fails unless the numbers in two values are close.
#[track_caller]
fn assert_close(one: &Value, other: &Value, at: &str) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            assert!(one.keys().eq(other.keys()), "{at}: {one:?} and {other:?}");
            one.iter().for_each(|(key, value)| assert_close(value, &other[key], &format!("{at}.{key}")));
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{at}");
            one.iter().zip(other).for_each(|(a, b)| assert_close(a, b, at));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            // The order of sums differs, and 20 updates amplify the differences.
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1e-2), "{at}: {a} and {b}");
        }
        _ => assert_eq!(one, other, "{at}"),
    }
}

/// Fails unless losses, norms, cosines and metrics of every step equal those of a single process, up to rounding.
#[track_caller]
fn assert_same_on_many(place: &Place, sets: &[&str]) {
    let sets = [&["train.accumulate=5", "train.epochs=20", "train.max_steps=20", "train.eval_every=10"], sets].concat();
    train(place, "runs/p1", 1, &sets).output().map(Ended::from).unwrap().done();
    let expected = lines(place, "runs/p1");
    assert!(expected.len() >= 22, "{}", expected.len());
    for processes in [2, 4] {
        let run = format!("runs/p{processes}");
        ended(train(place, &run, processes, &sets)).done();
        let found = lines(place, &run);
        assert_eq!(found.len(), expected.len());
        for (i, (one, other)) in expected.iter().zip(&found).enumerate() {
            assert_close(one, other, &format!("line {i} on {processes} processes"));
        }
    }
}

/// A teacher with layers of 200,000 parameters: the all-reduce of their gradients starts during the backward pass.
const LARGE: [&str; 2] = ["teacher.random.hidden=128", "teacher.random.heads=4"];

#[test]
fn topic_runs_on_many_processes_equal_runs_on_one() {
    if has_gloo() {
        assert_same_on_many(&Place::new(), &LARGE);
        assert_same_on_many(&Place::new(), &[]);
        assert_same_on_many(
            &Place::new(),
            &["teacher.train.layers=top 3", "student.train={layers: top 1, embeddings: true}"],
        );
        assert_same_on_many(&Place::new(), &["method.name=kd", "teacher.train={epochs: 2}"]);
    }
}

#[test]
fn recommendation_and_retrieval_on_many_processes_equal_runs_on_one() {
    if has_gloo() {
        assert_same_on_many(&Place::readers(), &[]);
        assert_same_on_many(&Place::searches(), &[]);
    }
}

/// At a learning rate too low to change any parameter, all runs evaluate the same model: the outcome of each row and every
/// metric are bitwise equal.
#[test]
fn an_evaluation_on_many_processes_is_bitwise_equal_to_one_on_a_single_process() {
    if !has_gloo() {
        return;
    }
    let no_updates = [
        "train.lr=1e-30",
        "train.head_lr=1e-30",
        "train.teacher_lr=1e-30",
        "train.accumulate=3",
        "train.weight_decay=0",
    ];
    let topics = Place::new();
    topics.write("test.tsv", topics.read("dev.tsv"));
    let searches = Place::searches();
    searches.write("beir/qrels/test.tsv", searches.read("beir/qrels/train.tsv"));
    for (place, test) in [(topics, "test.tsv"), (Place::readers(), "mind/dev"), (searches, "beir")] {
        let test = format!("data.test={test}");
        let evals =
            |run: &str| lines(&place, run).into_iter().filter(|line| line["event"] == "eval").collect::<Vec<_>>();
        let finished = |run: &str| {
            let summary = place.json(&format!("runs/{run}/summary.json"));
            ["teacher", "student"].map(|role| summary[role]["test"].clone())
        };
        for (split, sets) in [("dev", &no_updates[..]), ("test", &[&no_updates[..], &[&test]].concat())] {
            let [one, three] = ["p1", "p3"].map(|run| format!("{split}-{run}"));
            ended(train(&place, &format!("runs/{one}"), 1, sets)).done();
            ended(train(&place, &format!("runs/{three}"), 3, sets)).done();
            let outcomes = |run: &str| place.read(&format!("runs/{run}/outcomes.safetensors"));
            assert!(outcomes(&one) == outcomes(&three), "{split}");
            assert!(!evals(&format!("runs/{one}")).is_empty());
            assert_eq!(evals(&format!("runs/{one}")), evals(&format!("runs/{three}")));
            assert_eq!(finished(&one), finished(&three));
            assert_eq!(finished(&one).iter().all(Value::is_object), split == "test");
        }
    }
}

/// An existing teacher with different training settings is not replaced: the main process trains another one in a new folder,
/// and the other processes use it.
#[test]
fn all_processes_use_the_teacher_trained_by_the_main_process() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let kd = |epochs: &str| {
        let teacher = format!("teacher.train={{epochs: {epochs}}}");
        let sets = ["train.accumulate=2", "method.name=kd", &teacher];
        let mut command = train(&place, "runs/tiny", 2, &sets);
        command.arg("--overwrite");
        ended(command).done();
    };
    kd("1");
    std::fs::remove_file(place.path("runs/tiny/summary.json")).unwrap(); // a finished run is not overwritten
    kd("2");
    assert!(place.exists("runs/tiny-teacher/summary.json") && place.exists("runs/tiny-teacher-2/summary.json"));
}

/// Starts `command` and returns its process once the folder `run` has this checkpoint.
pub(super) fn until(place: &Place, mut command: Command, run: &str, checkpoint: u64) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = place.path(&format!("{run}/checkpoints/step-{checkpoint:09}"));
    let begin = Instant::now();
    while !folder.exists() {
        assert!(begin.elapsed() < PATIENCE, "no {}", folder.display());
        std::thread::sleep(Duration::from_micros(200));
    }
    child
}

#[test]
fn a_resumed_run_on_two_processes_is_bitwise_equal() {
    if !has_gloo() {
        return;
    }
    let large = [&LONG[..], &LARGE, &["train.max_steps=30"]].concat();
    let small = LONG.to_vec();
    for (place, sets) in
        [(Place::new(), &large), (Place::new(), &small), (Place::readers(), &small), (Place::searches(), &small)]
    {
        ended(on_processes(resume(&place, "runs/whole", sets), 2)).done();
        kill(until(&place, on_processes(resume(&place, "runs/parts", sets), 2), "runs/parts", 10));
        let last = ended(on_processes(resume(&place, "runs/parts", sets), 2)).done();
        assert!(last.err.contains("resuming after step"), "{}", last.err);
        assert_same_run(&place, "runs/whole", "runs/parts");
    }
}

#[test]
fn a_run_can_resume_on_a_different_number_of_processes() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let sets = [&LONG[..], &["train.max_steps=40"]].concat();
    ended(resume(&place, "runs/whole", &sets)).done();
    kill(until(&place, on_processes(resume(&place, "runs/parts", &sets), 3), "runs/parts", 10));
    let last = ended(on_processes(resume(&place, "runs/parts", &sets), 2)).done();
    assert!(last.err.contains("resuming after step"), "{}", last.err);
    let (whole, parts) = (lines(&place, "runs/whole"), lines(&place, "runs/parts"));
    assert_eq!(whole.len(), parts.len());
    whole.iter().zip(&parts).enumerate().for_each(|(i, (one, other))| assert_close(one, other, &format!("line {i}")));
}

#[test]
fn an_error_in_one_process_is_reported_by_all() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    // The main process cannot write, and the second reports its error.
    place.write("runs", "a file in place of the folder");
    let ended = ended(train(&place, "runs/tiny", 2, &["train.accumulate=2"])).failed(&["runs"]);
    let named = |line: &&str| line.starts_with("error in process 1: process 0: ") && line.contains("runs");
    assert!(ended.err.lines().any(|line| named(&line)), "{}", ended.err);
}

#[test]
fn processes_without_a_micro_batch_are_refused() {
    let place = Place::new();
    let refused = ended(train(&place, "runs/tiny", 2, &[]));
    if nb_dist::AVAILABLE {
        refused.failed(&[
            "train.accumulate is 1",
            "each of the 2 processes",
            "set train.accumulate=2 and divide train.batch by 2",
        ]);
        assert!(!place.exists("runs"));
    } else {
        refused.failed(&["built without process groups", "cargo xtask setup"]);
    }
}

/// Starts one of two processes, with the variables that a launcher sets.
fn launched(place: &Place, port: u16, rank: usize, sets: &[&str]) -> Child {
    let mut command = place.command();
    command.args(train_arguments(&[&["train.accumulate=2"], sets].concat()));
    command.env("WORLD_SIZE", "2").env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
    command.env("LOCAL_WORLD_SIZE", "2").env("MASTER_ADDR", "localhost").env("MASTER_PORT", port.to_string());
    command.spawn().unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn processes_of_a_launcher_connect_and_must_have_the_same_configuration() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let both = |second: &[&str]| {
        let port = free_port();
        let other = launched(&place, port, 1, second);
        let first = Ended::from(launched(&place, port, 0, &[]).wait_with_output().unwrap());
        (first, Ended::from(other.wait_with_output().unwrap()))
    };
    for another in ["seed=1", "method.name=kd"] {
        let (first, other) = both(&[another]);
        first.failed(&["process 1 has a different configuration"]);
        assert_eq!(other.code, Some(1));
        assert!(!place.exists("runs"));
    }
    let (first, other) = both(&[]);
    first.done();
    assert!(other.done().out.is_empty());
    assert!(place.exists("runs/tiny/summary.json"));
    let again = [&["train.accumulate=2"][..], &[]].concat();
    let again = ended(on_processes(resume(&place, "runs/tiny", &again), 2)).done();
    assert_eq!(again.out.matches("already finished").count(), 1, "{}", again.out);
}

#[test]
fn a_launcher_and_the_option_processes_exclude_each_other() {
    let place = Place::new();
    let mut command = train(&place, "runs/tiny", 2, &[]);
    for (name, value) in [("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")] {
        command.env(name, value);
    }
    ended(command).failed(&["--processes is 2", "a launcher has already started 2 processes"]);
    // A container may set the variables for a single process.
    let mut command = train(&place, "runs/tiny", 1, &[]);
    for (name, value) in [("WORLD_SIZE", "1"), ("RANK", "0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")] {
        command.env(name, value);
    }
    ended(command).done();
}

#[test]
fn invalid_variables_of_a_launcher_are_named() {
    let place = Place::new();
    let mut command = place.command();
    command.args(train_arguments(&[])).env("WORLD_SIZE", "2").env("RANK", "two");
    ended(command).failed(&["RANK is two, expected a number from 0 to 1"]);
}
