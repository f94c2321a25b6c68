//! Runs on several processes: the same result as on one, and an end that names the process which is lost.

#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::place::{Ended, Place, train_arguments};
use super::resuming::{LONG, PATIENCE, assert_same_run, ended, kill, lines, resume};

/// Returns true if this build has process groups. Otherwise the test is skipped: `cargo xtask doctor` tells of Gloo's headers.
pub(super) fn has_gloo() -> bool {
    nb_testing::require("gloo", nb_dist::AVAILABLE)
}

/// `nb train` into the folder `run` on so many processes.
pub(super) fn train(place: &Place, run: &str, processes: usize, sets: &[&str]) -> Command {
    let mut command = place.command();
    let (output, number) = (format!("output={run}"), processes.to_string());
    command.args(train_arguments(sets)).args(["--set", &output, "--processes", &number]);
    command
}

fn on(mut command: Command, processes: usize) -> Command {
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
            // Sums in another order, and what 20 updates make of that.
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1e-2), "{at}: {a} and {b}");
        }
        _ => assert_eq!(one, other, "{at}"),
    }
}

/// Losses, norms, cosines and metrics of every step are those of one process, but for rounding.
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

/// A teacher with layers of 200,000 parameters: their sums begin during the backward pass.
const LARGE: [&str; 2] = ["teacher.random.hidden=128", "teacher.random.heads=4"];

#[test]
fn topics_on_many_processes_are_those_on_one() {
    if has_gloo() {
        assert_same_on_many(&Place::new(), &LARGE);
        assert_same_on_many(&Place::new(), &[]);
        assert_same_on_many(&Place::new(), &["method.name=kd", "teacher.train={epochs: 2}"]);
    }
}

#[test]
fn recommendation_and_retrieval_on_many_processes_are_those_on_one() {
    if has_gloo() {
        assert_same_on_many(&Place::readers(), &[]);
        assert_same_on_many(&Place::searches(), &[]);
    }
}

/// With a rate so low that no parameter moves, all runs evaluate the same model: what became of each row and every metric are
/// the same, to the bit.
#[test]
fn an_evaluation_on_many_processes_is_that_on_one_to_the_bit() {
    if !has_gloo() {
        return;
    }
    let still = [
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
        for (split, sets) in [("dev", &still[..]), ("test", &[&still[..], &[&test]].concat())] {
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

/// A teacher that is there already, but was trained in another way, stays; the first process trains one beside it, and the others
/// are told where.
#[test]
fn all_processes_find_the_teacher_that_the_first_has_trained() {
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
    std::fs::remove_file(place.path("runs/tiny/summary.json")).unwrap(); // a run that came to its end is not written over
    kd("2");
    assert!(place.exists("runs/tiny-teacher/summary.json") && place.exists("runs/tiny-teacher-2/summary.json"));
}

/// Starts a run on so many processes, and returns it once it has this checkpoint.
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
fn two_processes_go_on_to_the_bit() {
    if !has_gloo() {
        return;
    }
    let large = [&LONG[..], &LARGE, &["train.max_steps=30"]].concat();
    let small = LONG.to_vec();
    for (place, sets) in
        [(Place::new(), &large), (Place::new(), &small), (Place::readers(), &small), (Place::searches(), &small)]
    {
        ended(on(resume(&place, "runs/whole", sets), 2)).done();
        kill(until(&place, on(resume(&place, "runs/parts", sets), 2), "runs/parts", 10));
        let last = ended(on(resume(&place, "runs/parts", sets), 2)).done();
        assert!(last.err.contains("resuming after step"), "{}", last.err);
        assert_same_run(&place, "runs/whole", "runs/parts");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let sets = [&LONG[..], &["train.max_steps=40"]].concat();
    ended(resume(&place, "runs/whole", &sets)).done();
    kill(until(&place, on(resume(&place, "runs/parts", &sets), 3), "runs/parts", 10));
    let last = ended(on(resume(&place, "runs/parts", &sets), 2)).done();
    assert!(last.err.contains("resuming after step"), "{}", last.err);
    let (whole, parts) = (lines(&place, "runs/whole"), lines(&place, "runs/parts"));
    assert_eq!(whole.len(), parts.len());
    whole.iter().zip(&parts).enumerate().for_each(|(i, (one, other))| assert_close(one, other, &format!("line {i}")));
}

#[test]
fn an_error_of_one_process_is_everybodys() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    // The first cannot write; the others learn why.
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
        refused.failed(&["train.accumulate is 1", "each of the 2 processes", "--set train.accumulate=2"]);
        assert!(!place.exists("runs"));
    } else {
        refused.failed(&["built without process groups", "cargo xtask setup"]);
    }
}

/// Started as a launcher starts them, each by itself.
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
fn a_launchers_processes_find_each_other_and_must_agree() {
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
    let again = ended(on(resume(&place, "runs/tiny", &again), 2)).done();
    assert_eq!(again.out.matches("it was finished already").count(), 1, "{}", again.out);
}

#[test]
fn a_launcher_and_a_number_of_processes_exclude_each_other() {
    let place = Place::new();
    let mut command = train(&place, "runs/tiny", 2, &[]);
    for (name, value) in [("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")] {
        command.env(name, value);
    }
    ended(command).failed(&["--processes is 2", "one of 2 processes"]);
    // A container may say that there is one.
    let mut command = train(&place, "runs/tiny", 1, &[]);
    for (name, value) in [("WORLD_SIZE", "1"), ("RANK", "0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")] {
        command.env(name, value);
    }
    ended(command).done();
}

#[test]
fn variables_that_make_no_sense_are_named() {
    let place = Place::new();
    let mut command = place.command();
    command.args(train_arguments(&[])).env("WORLD_SIZE", "2").env("RANK", "two");
    ended(command).failed(&["RANK is two, expected a number from 0 to 1"]);
}
