//! Runs on several processes, one of which is lost, hangs or receives a signal.

#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::place::{CONFIG, Ended, Place};
use super::processes::{has_gloo, train, until};
use super::resuming::kill;

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {process}");
}

/// Returns the ids of the processes that `first` has started, by rank from 1.
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

fn is_alive(process: u32) -> bool {
    Command::new("kill").args(["-s", "0", &process.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_lost_process_ends_the_others_within_a_minute_and_is_named() {
    if !has_gloo() {
        return;
    }
    for signal_name in ["KILL", "STOP"] {
        let place = Place::new();
        let child = endless(&place);
        let others = others(&child);
        signal(others[0], signal_name);
        let begin = Instant::now();
        let ended = Ended::from(child.wait_with_output().unwrap()).failed(&["process 1 is lost: no heartbeat for 2"]);
        assert!(begin.elapsed() < Duration::from_secs(60), "{signal_name}: {:?}", begin.elapsed());
        assert!(ended.err.contains("error in process 2: process 1 is lost"), "{}", ended.err);
        assert!(!others.iter().any(|&other| is_alive(other)), "{signal_name}");
        assert!(place.exists("runs/tiny/checkpoints"));
    }
}

/// A process whose main thread is halted still gives signs of life, but takes part in no exchange.
#[cfg(target_os = "linux")]
#[test]
fn a_hanging_process_ends_the_others_within_a_minute_and_is_named() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let child = endless(&place);
    let others = others(&child);
    let Some(halted) = halt_main_thread(others[0]) else {
        kill(child);
        nb_testing::require("ptrace", false);
        return;
    };
    let begin = Instant::now();
    let ended = Ended::from(child.wait_with_output().unwrap()).failed(&["process 1 hangs: it is alive, but"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert!(ended.err.contains("error in process 2: process 1 hangs"), "{}", ended.err);
    halted.join().unwrap();
    assert!(!others.iter().any(|&other| is_alive(other)));
}

/// Halts the main thread of a process, as a debugger does, until the process ends. Returns `None` where that is forbidden.
#[cfg(target_os = "linux")]
fn halt_main_thread(process: u32) -> Option<std::thread::JoinHandle<()>> {
    use nix::sys::ptrace;
    use nix::sys::wait::{WaitStatus, waitpid};
    let process = nix::unistd::Pid::from_raw(process.try_into().unwrap());
    let (is_halted, halted) = std::sync::mpsc::channel();
    // Only the thread that has seized the process can wait for its end.
    let thread = std::thread::spawn(move || {
        if ptrace::seize(process, ptrace::Options::empty()).is_err() {
            return is_halted.send(false).unwrap();
        }
        ptrace::interrupt(process).unwrap();
        waitpid(process, None).unwrap();
        is_halted.send(true).unwrap();
        while !matches!(waitpid(process, None).unwrap(), WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {}
    });
    halted.recv().unwrap().then_some(thread)
}

/// The configuration comes from a pipe: the main process reads it, and nothing is left for the second.
#[test]
fn a_process_that_fails_before_it_joins_ends_the_run() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    // Relative paths start at the configuration's folder, so they are made absolute.
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
    Ended::from(child.wait_with_output().unwrap()).failed(&["process 1", "exited before the run started"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert!(!place.exists("runs"));
}

/// `nb` sets these variables before libtorch starts, and its child processes inherit them.
#[cfg(target_os = "linux")]
#[test]
fn child_processes_inherit_the_limits_of_libtorchs_caches() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let child = endless(&place);
    let environment = std::fs::read(format!("/proc/{}/environ", others(&child)[0])).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    for variable in ["ONEDNN_PRIMITIVE_CACHE_CAPACITY=64", "LRU_CACHE_CAPACITY=64", "TORCH_CPP_LOG_LEVEL=ERROR"] {
        assert!(environment.split('\0').any(|name_and_value| name_and_value == variable), "{variable}: {environment}");
    }
    kill(child);
}

#[test]
fn the_others_end_after_the_first_process() {
    if !has_gloo() {
        return;
    }
    let place = Place::new();
    let child = endless(&place);
    let others = others(&child);
    kill(child);
    let begin = Instant::now();
    while others.iter().any(|&other| is_alive(other)) {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_signal_to_any_process_stops_all_after_the_same_step() {
    if !has_gloo() {
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
