//! Runs on several processes: the same result as on one, and an end that names the process which is lost.

#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::place::{CONFIG, Ended, Place, train_arguments};
use super::resuming::{LONG, PATIENCE, assert_same_run, ended, kill, lines, resume};

/// Says so and returns false where this build has no process groups: then there is nothing to test.
fn can() -> bool {
    if !nb_dist::AVAILABLE {
        eprintln!("left out: built without Gloo's headers, see `cargo xtask doctor`");
    }
    nb_dist::AVAILABLE
}

/// `nb train` into the folder `run` on so many processes.
fn train(place: &Place, run: &str, processes: usize, sets: &[&str]) -> Command {
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

#[test]
fn topics_on_many_processes_are_those_on_one() {
    if can() {
        assert_same_on_many(&Place::new(), &[]);
        assert_same_on_many(&Place::new(), &["method.name=kd", "teacher.train={epochs: 2}"]);
    }
}

#[test]
fn recommendation_and_retrieval_on_many_processes_are_those_on_one() {
    if can() {
        assert_same_on_many(&Place::readers(), &[]);
        assert_same_on_many(&Place::searches(), &[]);
    }
}

/// With a rate so low that no parameter moves, all runs evaluate the same model: what became of each row and every metric are
/// the same, to the bit.
#[test]
fn an_evaluation_on_many_processes_is_that_on_one_to_the_bit() {
    if !can() {
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

/// Starts a run on so many processes, and returns it once it has this checkpoint.
fn until(place: &Place, mut command: Command, run: &str, checkpoint: u64) -> Child {
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
    if !can() {
        return;
    }
    for place in [Place::new(), Place::readers(), Place::searches()] {
        ended(on(resume(&place, "runs/whole", &LONG), 2)).done();
        kill(until(&place, on(resume(&place, "runs/parts", &LONG), 2), "runs/parts", 10));
        let last = ended(on(resume(&place, "runs/parts", &LONG), 2)).done();
        assert!(last.err.contains("going on after step"), "{}", last.err);
        assert_same_run(&place, "runs/whole", "runs/parts");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    if !can() {
        return;
    }
    let place = Place::new();
    let sets = [&LONG[..], &["train.max_steps=40"]].concat();
    ended(resume(&place, "runs/whole", &sets)).done();
    kill(until(&place, on(resume(&place, "runs/parts", &sets), 3), "runs/parts", 10));
    let last = ended(on(resume(&place, "runs/parts", &sets), 2)).done();
    assert!(last.err.contains("going on after step"), "{}", last.err);
    let (whole, parts) = (lines(&place, "runs/whole"), lines(&place, "runs/parts"));
    assert_eq!(whole.len(), parts.len());
    whole.iter().zip(&parts).enumerate().for_each(|(i, (one, other))| assert_close(one, other, &format!("line {i}")));
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {process}");
}

/// The processes that `first` has started, by rank from 1.
fn others(first: &Child) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &first.id().to_string()]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

fn endless(place: &Place) -> Child {
    let endless = ["train.accumulate=3", "train.epochs=1000000", "train.eval_every=1000000", "checkpoints.every=5"];
    let child = until(place, train(place, "runs/tiny", 3, &endless), "runs/tiny", 5);
    assert_eq!(others(&child).len(), 2);
    child
}

fn is_there(process: u32) -> bool {
    Command::new("kill").args(["-s", "0", &process.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_process_that_is_lost_ends_the_others_within_a_minute_and_is_named() {
    if !can() {
        return;
    }
    for how in ["KILL", "STOP"] {
        let place = Place::new();
        let child = endless(&place);
        let others = others(&child);
        signal(others[0], how);
        let begin = Instant::now();
        let ended =
            Ended::from(child.wait_with_output().unwrap()).failed(&["process 1 is gone: no sign of life for 2"]);
        assert!(begin.elapsed() < Duration::from_secs(60), "{how}: {:?}", begin.elapsed());
        assert!(ended.err.contains("error in process 2: process 1 is gone"), "{}", ended.err);
        assert!(!others.iter().any(|&other| is_there(other)), "{how}");
        assert!(place.exists("runs/tiny/checkpoints"));
    }
}

/// A process whose main thread stands still lives on: it gives signs of life, but does not come.
#[cfg(target_os = "linux")]
#[test]
fn a_process_that_hangs_ends_the_others_within_a_minute_and_is_named() {
    if !can() {
        return;
    }
    let place = Place::new();
    let child = endless(&place);
    let others = others(&child);
    let halted = halt_main_thread(others[0]);
    let begin = Instant::now();
    let ended = Ended::from(child.wait_with_output().unwrap()).failed(&["process 1 hangs: it lives, but"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert!(ended.err.contains("error in process 2: process 1 hangs"), "{}", ended.err);
    halted.join().unwrap();
    assert!(!others.iter().any(|&other| is_there(other)));
}

/// Halts one thread of a process as a debugger does, until the process ends.
#[cfg(target_os = "linux")]
fn halt_main_thread(process: u32) -> std::thread::JoinHandle<()> {
    use nix::sys::ptrace;
    use nix::sys::wait::{WaitStatus, waitpid};
    let process = nix::unistd::Pid::from_raw(process.try_into().unwrap());
    let (is_halted, halted) = std::sync::mpsc::channel();
    // The thread that has seized it must also be the one that hears of its end.
    let thread = std::thread::spawn(move || {
        ptrace::seize(process, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(process).unwrap();
        waitpid(process, None).unwrap();
        is_halted.send(()).unwrap();
        while !matches!(waitpid(process, None).unwrap(), WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {}
    });
    halted.recv().unwrap();
    thread
}

/// The configuration comes from a pipe, which the first process empties.
#[test]
fn a_process_that_fails_before_it_joins_is_not_waited_for() {
    if !can() {
        return;
    }
    let place = Place::new();
    // Paths count from the configuration's folder.
    let mut config = CONFIG.to_owned();
    for name in ["runs/tiny", "train.tsv", "dev.tsv", "tokenizer: tokenizer"] {
        let (key, path) = name.split_once(": ").unwrap_or(("", name));
        let to = place.path(path).display().to_string();
        config = config.replace(name, &if key.is_empty() { to } else { format!("{key}: {to}") });
    }
    let mut command = place.command();
    command.args(["train", "--config", "/dev/stdin", "--processes", "2", "--set", "train.accumulate=2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), config.as_bytes()).unwrap();
    Ended::from(child.wait_with_output().unwrap()).failed(&["process 1", "has ended before the run began"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert!(!place.exists("runs"));
}

/// What `nb` sets for libtorch before that begins, as the processes that it starts are given it.
#[cfg(target_os = "linux")]
#[test]
fn libtorch_is_told_to_keep_few_products() {
    if !can() {
        return;
    }
    let place = Place::new();
    let child = endless(&place);
    let given = std::fs::read(format!("/proc/{}/environ", others(&child)[0])).unwrap();
    let given = String::from_utf8(given).unwrap();
    assert!(given.split('\0').any(|variable| variable == "ONEDNN_PRIMITIVE_CACHE_CAPACITY=64"), "{given}");
    assert!(given.split('\0').any(|variable| variable == "TORCH_CPP_LOG_LEVEL=ERROR"), "{given}");
    kill(child);
}

#[test]
fn without_the_first_process_the_others_end() {
    if !can() {
        return;
    }
    let place = Place::new();
    let child = endless(&place);
    let others = others(&child);
    kill(child);
    let begin = Instant::now();
    while others.iter().any(|&other| is_there(other)) {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_signal_to_any_process_stops_all_after_the_same_step() {
    if !can() {
        return;
    }
    for to_first in [true, false] {
        let place = Place::new();
        let child = endless(&place);
        signal(if to_first { child.id() } else { others(&child)[1] }, "TERM");
        let ended = Ended::from(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(143), "{}", ended.err);
        assert!(ended.err.contains("stopped after step") && ended.err.contains("--resume"), "{}", ended.err);
        assert!(!ended.err.contains("error"), "{}", ended.err);
    }
}

#[test]
fn an_error_of_one_process_is_everybodys() {
    if !can() {
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
    if can() {
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
    if !can() {
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
        first.failed(&["process 1 has another configuration"]);
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
