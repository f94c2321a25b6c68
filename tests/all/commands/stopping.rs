//! Runs that end early: a loss that is not finite, a signal, a full disk, an unreachable hub.

use std::net::TcpListener;
#[cfg(unix)]
use std::process::{Child, Command};
use std::time::{Duration, Instant};

#[cfg(unix)]
use super::place::wait_until;
use super::place::{Ended, Place, STUDENT, train_arguments, with_file_limit};

#[test]
fn a_loss_that_is_not_finite_stops_the_run() {
    let place = Place::new();
    let ended = place.train(&["train.lr=1e30", "train.clip=0", "train.warmup=0", "train.epochs=3"]);
    let ended = ended.failed(&["step ", "term `", "runs/tiny", "train.lr"]);
    assert!(ended.err.contains("NaN") || ended.err.contains("inf"), "{}", ended.err);
    assert!(!place.exists("runs/tiny/summary.json"), "the run is not finished");
    // The run counts as unfinished.
    place.train(&[]).failed(&["--overwrite"]);
}

#[test]
fn the_best_model_is_kept_when_a_loss_is_not_finite() {
    let place = Place::new();
    let sets = ["train.lr=1e-3", "train.weight_decay=1e12", "train.warmup=1", "train.epochs=3", "train.eval_every=1"];
    // This decay multiplies every matrix by −5·10⁷ or more per step: the weights are finite and saved at first, then infinite.
    place.train(&sets).failed(&["step ", "the best teacher and student so far is saved", "train.lr"]);
    assert!(place.exists("runs/tiny/student/model.safetensors") && place.exists("runs/tiny/teacher/head.safetensors"));
}

/// Starts an endless run and returns when it has evaluated in the folder `run`.
#[cfg(unix)]
fn long_run(place: &Place, run: &str, sets: &[&str]) -> Child {
    let sets = [&["train.epochs=100000", "train.eval_every=3"], sets].concat();
    let child = place.command().args(train_arguments(&sets)).spawn().unwrap();
    let metrics = place.path(&format!("{run}/metrics.jsonl"));
    wait_until("the first evaluation", || {
        std::fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"eval\""))
    });
    child
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name}");
}

#[cfg(unix)]
#[test]
fn a_signal_stops_the_run_after_its_step_and_keeps_its_files() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        let child = long_run(&place, "runs/tiny", &[]);
        signal(&child, name);
        let ended: Ended = child.wait_with_output().unwrap().into();
        assert_eq!(ended.code, Some(code), "{name}: {}", ended.err);
        assert!(ended.err.contains("stopped after step") && ended.err.contains("runs/tiny"), "{}", ended.err);
        let expected = ["checkpoints", "config.yaml", "metrics.jsonl", "student", "teacher"];
        assert_eq!(unfinished(&place, "runs/tiny"), expected, "{name}");
        for line in place.text("runs/tiny/metrics.jsonl").lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        place.nb(&["predict", "--model", STUDENT, "--input", "dev.tsv"]).done();
    }
}

/// Returns the names in the folder of an unfinished run, except TensorBoard's events.
fn unfinished(place: &Place, run: &str) -> Vec<String> {
    place.names(run).into_iter().filter(|name| !name.starts_with("events.out.tfevents.")).collect()
}

#[cfg(unix)]
#[test]
fn a_signal_during_teacher_training_creates_no_student_folder() {
    let place = Place::new();
    let child = long_run(&place, "runs/tiny-teacher", &["method.name=kd"]);
    signal(&child, "INT");
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(ended.err.contains("stopped after step") && ended.err.contains("runs/tiny-teacher"), "{}", ended.err);
    assert_eq!(unfinished(&place, "runs/tiny-teacher"), ["checkpoints", "config.yaml", "metrics.jsonl", "teacher"]);
    assert!(!place.exists("runs/tiny"), "the student was not started");
    // An unfinished teacher is not used.
    place.train(&["method.name=kd"]).failed(&["runs/tiny-teacher", "unfinished", "--overwrite"]);
    assert!(!place.exists("runs/tiny"));
    place.nb(&["train", "--config", "tiny.yaml", "--set", "method.name=kd", "--overwrite"]).done();
    assert!(place.exists("runs/tiny-teacher/summary.json") && place.exists("runs/tiny/summary.json"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_partial_file() {
    let place = Place::new();
    // Weights of 86 kB do not fit, but configuration, token store and log do.
    let ended = with_file_limit(&place, 40, &train_arguments(&[]));
    ended.failed(&["cannot write", "model.safetensors", "File too large"]);
    assert_eq!(unfinished(&place, "runs/tiny"), ["config.yaml", "metrics.jsonl"]);

    let place = Place::new();
    place.train(&[]).done();
    place.write("vectors.safetensors", "good");
    place.write("many.txt", "rain in the storm\n".repeat(2000));
    let before = place.names("");
    let embed = ["embed", "--model", STUDENT, "--input", "many.txt", "--output", "vectors.safetensors"];
    with_file_limit(&place, 40, &embed.map(str::to_owned)).failed(&["File too large"]);
    assert_eq!(place.text("vectors.safetensors"), "good");
    assert_eq!(place.names(""), before);
}

/// The next run does not use a token store that was truncated by a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_during_tokenisation_is_reported_and_the_next_run_succeeds() {
    let place = Place::new();
    let ended = with_file_limit(&place, 1, &train_arguments(&[]));
    ended.failed(&["cache/newsbert/tokens", "File too large"]);
    assert!(!place.exists("runs"));
    place.train(&[]).done();
}

/// The hub accepts the connection and never answers.
#[test]
fn a_hub_that_does_not_answer_times_out() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let begin = Instant::now();
    let arguments = train_arguments(&["teacher={checkpoint: 'hf:nobody/nothing'}"]);
    let ended: Ended = place.command().args(arguments).env("HF_ENDPOINT", endpoint).output().unwrap().into();
    ended.failed(&["hf:nobody/nothing", "within 10 seconds", "folder", "HF_HOME"]);
    assert!(begin.elapsed() < Duration::from_secs(30), "it took {:?}", begin.elapsed());
    assert!(!place.exists("runs"));
}

/// Nothing listens at the address of the hub.
#[test]
fn an_unreachable_hub_is_reported() {
    let place = Place::new();
    let mut command = place.command();
    command.args(["fetch", "hf:nobody/nothing"]).env("HF_ENDPOINT", "http://127.0.0.1:9");
    let ended: Ended = command.output().unwrap().into();
    ended.failed(&["hf:nobody/nothing", "folder on disk", "HF_HOME"]);
    place.nb(&["fetch", "hf:../secrets"]).failed(&["hf:../secrets", "hf:owner/name"]);
}
