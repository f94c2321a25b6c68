//! The protocol between the bench and its peers, with a peer that needs nothing but Python.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nb_bench::peer::{Patience, Peer, Python, Round, Started};
use nb_bench::report::Unit;
use nb_bench::turns::{Peers, Work, take_turns};

/// Does in each mode what its name says.
const FAKE: &str = r#"
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--job"), parser.add_argument("--mode")
args = parser.parse_args()
job = json.load(open(args.job))
def say(value): print(json.dumps(value), flush=True)
if args.mode == "unavailable":
    say({"unavailable": "no compiler"}); sys.exit(0)
if args.mode == "dies-early":
    sys.exit("nothing to load")
say({"ready": True})
for n, line in enumerate(sys.stdin, 1):
    assert line == "round\n", line
    print(f"round {n}", file=sys.stderr, flush=True)
    if args.mode == "dies":
        raise MemoryError("out of luck")
    if args.mode == "hangs":
        time.sleep(60)
    if args.mode == "babbles":
        print("hello", flush=True); continue
    seconds = {"slow": 4.0, "fast": 2.0}.get(args.mode, 1.0) * n
    tokens = job["tokens"] + (args.mode == "other-work")
    say({"seconds": seconds, "sequences": job["sequences"], "tokens": tokens, "peak_bytes": int(os.environ["OMP_NUM_THREADS"])})
open(job["end"], "a").write(args.mode)
"#;

struct Place {
    folder: tempfile::TempDir,
    python: Python,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("fake.py"), FAKE).expect("the folder can be written");
        let job = serde_json::json!({"sequences": 32, "tokens": 500, "end": path("end")});
        std::fs::write(path("job.json"), job.to_string()).expect("the folder can be written");
        Self { folder, python: Python { program: "python3".into(), threads: 3 } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, mode: &str) -> anyhow::Result<Started> {
        let patience = Patience { start: Duration::from_secs(60), round: Duration::from_secs(2) };
        Peer::start(&self.python, &self.path("fake.py"), &self.path("job.json"), mode, patience)
    }

    fn ready(&self, mode: &str) -> Peer {
        match self.start(mode).expect(mode) {
            Started::Ready(peer) => peer,
            Started::Unavailable(why) => panic!("{mode}: {why}"),
        }
    }
}

/// A round of ours that does what the fake does.
fn ours(seconds: f64) -> Round {
    Round { seconds, sequences: 32, tokens: 500, peak_bytes: None, latencies: Vec::new() }
}

fn end(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_peer_answers_each_round_and_ends_with_its_input() {
    let place = Place::new();
    let mut peer = place.ready("plain");
    assert_eq!(peer.round().unwrap(), Round { peak_bytes: Some(3), ..ours(1.0) });
    assert_eq!(peer.round().unwrap().seconds, 2.0);
    drop(peer);
    assert_eq!(end(&place.path("end")), "plain", "it came to its own end");
}

#[test]
fn a_mode_that_does_not_work_says_why() {
    let Started::Unavailable(why) = Place::new().start("unavailable").unwrap() else { panic!("it is ready") };
    assert_eq!(why, "no compiler");
}

#[test]
fn a_peer_that_fails_is_named_with_its_last_words() {
    let place = Place::new();
    let early = format!("{:#}", place.start("dies-early").unwrap_err());
    assert!(early.contains("the peer dies-early ended with") && early.contains("| nothing to load"), "{early}");
    for (mode, says) in [
        ("dies", &["ended with", "| round 1", "MemoryError: out of luck"][..]),
        ("hangs", &["took longer than 2 s for a round", "| round 1"]),
        ("babbles", &["said `hello`, expected JSON"]),
    ] {
        let error = format!("{:#}", place.ready(mode).round().unwrap_err());
        assert!(error.starts_with(&format!("the peer {mode} ")), "{error}");
        says.iter().for_each(|part| assert!(error.contains(part), "`{part}` is not in: {error}"));
    }
}

#[test]
fn both_sides_take_turns_and_each_round_is_compared_with_its_best_peer() {
    let place = Place::new();
    let peers = Peers { ready: ["slow", "fast"].map(|mode| place.ready(mode)).into(), skipped: Default::default() };
    let work = Work { bench: "train", case: "ag-64", precision: "f32", unit: Unit::Sequences };
    let mut rounds = 0.0;
    // Ours takes 1, 2 and 3 s, the faster peer twice as long each time.
    let mut round = || {
        rounds += 1.0;
        Ok(ours(rounds))
    };
    let turns = take_turns(&work, 3, &mut round, peers).unwrap();
    let outcome = turns.outcome(&work);
    assert_eq!((outcome.ours, outcome.range), (16.0, [32.0 / 3.0, 32.0]));
    assert_eq!((outcome.peers["slow"], outcome.peers["fast"]), (4.0, 8.0));
    assert_eq!((outcome.ratio, outcome.spread), (Some(2.0), Some([2.0, 2.0])));
    assert_eq!(outcome.details["peak_bytes_of_peers"]["fast"], 3);
}

#[test]
fn a_peer_that_does_other_work_is_no_peer() {
    let place = Place::new();
    let peers = Peers { ready: vec![place.ready("other-work")], skipped: Default::default() };
    let work = Work { bench: "train", case: "ag-64", precision: "f32", unit: Unit::Sequences };
    let error = take_turns(&work, 1, &mut || Ok(ours(1.0)), peers).unwrap_err().to_string();
    assert!(error.contains("the peer other-work") && error.contains("501 tokens") && error.contains("500"), "{error}");
}
