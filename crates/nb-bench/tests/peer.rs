//! The protocol between the bench and its peers, tested with a peer that needs only Python.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nb_bench::details::Agreement;
use nb_bench::interleave::{Measurement, Peers, Rounds, run_interleaved};
use nb_bench::peer::{Peer, PeerFacts, Python, Round, Startup, Timeouts};
use nb_bench::report::Unit;

/// A peer that behaves according to the name of its mode.
const FAKE_PEER: &str = r#"
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
facts = {"settings": "batches of 8", "agreement": {"labels": 0.5, "cosine": 0.25, "lowest_cosine": -1}}
say({"ready": True} | {"tuned": facts, "wrong-facts": {"agreement": 1}}.get(args.mode, {}))
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

/// A temporary folder with the program and the job of the fake peer.
struct FakePeer {
    folder: tempfile::TempDir,
    python: Python,
}

impl FakePeer {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("fake.py"), FAKE_PEER).expect("the folder can be written");
        let job = serde_json::json!({"sequences": 32, "tokens": 500, "end": path("end")});
        std::fs::write(path("job.json"), job.to_string()).expect("the folder can be written");
        Self { folder, python: Python { program: "python3".into(), threads: 3 } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, mode: &str) -> anyhow::Result<Startup> {
        let timeouts = Timeouts { start: Duration::from_secs(60), round: Duration::from_secs(2) };
        Peer::start(&self.python, &self.path("fake.py"), &self.path("job.json"), mode, timeouts)
    }

    fn ready(&self, mode: &str) -> Peer {
        match self.start(mode).expect(mode) {
            Startup::Ready(peer) => peer,
            Startup::Unavailable(reason) => panic!("{mode}: {reason}"),
        }
    }
}

/// Returns a round of our side with the same work as the fake peer.
fn ours(seconds: f64) -> Round {
    Round { seconds, sequences: 32, tokens: 500, peak_bytes: None, latencies: Vec::new() }
}

fn end(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_peer_answers_each_round_and_exits_at_the_end_of_input() {
    let fake = FakePeer::new();
    let mut peer = fake.ready("plain");
    assert_eq!(peer.round().unwrap(), Round { peak_bytes: Some(3), ..ours(1.0) });
    assert_eq!(peer.round().unwrap().seconds, 2.0);
    drop(peer);
    assert_eq!(end(&fake.path("end")), "plain", "it was not killed");
}

#[test]
fn a_peer_tells_its_settings_and_its_agreement() {
    let fake = FakePeer::new();
    assert_eq!(fake.ready("plain").facts(), &PeerFacts::default());
    let agreement = Some(Agreement { labels: 0.5, cosine: 0.25, lowest_cosine: -1.0 });
    let expected = PeerFacts { settings: Some("batches of 8".into()), agreement, probabilities: Vec::new() };
    let peers = Peers { ready: vec![fake.ready("tuned")], ..Peers::default() };
    assert_eq!(peers.ready[0].facts(), &expected);
    let measurement = Measurement { bench: "infer", case: "bulk-64", precision: "int8", unit: Unit::Texts };
    let rounds = Rounds { count: 1, busy_threads: 0 };
    let details =
        run_interleaved(&measurement, rounds, &mut || Ok(ours(1.0)), peers).unwrap().outcome(&measurement).details;
    assert_eq!(details.agreement_of_peers.get("tuned"), agreement);
    assert_eq!(details.settings_of_peers["tuned"], "batches of 8");
    let error = format!("{:#}", fake.start("wrong-facts").unwrap_err());
    assert!(error.contains("the peer wrong-facts answered") && error.contains("expected its facts"), "{error}");
}

#[test]
fn an_unavailable_mode_gives_the_reason() {
    let Startup::Unavailable(reason) = FakePeer::new().start("unavailable").unwrap() else { panic!("it is ready") };
    assert_eq!(reason, "no compiler");
}

#[test]
fn a_failing_peer_is_reported_with_its_mode_and_standard_error() {
    let fake = FakePeer::new();
    let early = format!("{:#}", fake.start("dies-early").unwrap_err());
    assert!(early.contains("the peer dies-early exited with") && early.contains("| nothing to load"), "{early}");
    for (mode, parts) in [
        ("dies", &["exited with", "| round 1", "MemoryError: out of luck"][..]),
        ("hangs", &["took longer than 2 s for a round", "| round 1"]),
        ("babbles", &["answered `hello`, expected JSON"]),
    ] {
        let error = format!("{:#}", fake.ready(mode).round().unwrap_err());
        assert!(error.starts_with(&format!("the peer {mode} ")), "{error}");
        parts.iter().for_each(|part| assert!(error.contains(part), "`{part}` is not in: {error}"));
    }
}

#[test]
fn each_round_is_compared_with_its_best_peer() {
    let fake = FakePeer::new();
    let peers = Peers { ready: ["slow", "fast"].map(|mode| fake.ready(mode)).into(), ..Peers::default() };
    let measurement = Measurement { bench: "train", case: "ag-64", precision: "f32", unit: Unit::Sequences };
    let mut seconds = 0.0;
    // Our side takes 1, 2 and 3 s; the faster peer takes twice as long in each round.
    let mut round = || {
        seconds += 1.0;
        Ok(ours(seconds))
    };
    let rounds = run_interleaved(&measurement, Rounds { count: 3, busy_threads: 1 }, &mut round, peers).unwrap();
    let outcome = rounds.outcome(&measurement);
    assert_eq!((outcome.ours, outcome.range), (16.0, [32.0 / 3.0, 32.0]));
    assert_eq!((outcome.peers["slow"], outcome.peers["fast"]), (4.0, 8.0));
    assert_eq!((outcome.ratio, outcome.spread), (Some(2.0), Some([2.0, 2.0])));
    assert_eq!(outcome.details.peak_bytes_of_peers.get("fast"), Some(3));
}

#[test]
fn a_peer_with_different_work_is_an_error() {
    let fake = FakePeer::new();
    let peers = Peers { ready: vec![fake.ready("other-work")], ..Peers::default() };
    let measurement = Measurement { bench: "train", case: "ag-64", precision: "f32", unit: Unit::Sequences };
    let error = run_interleaved(&measurement, Rounds { count: 1, busy_threads: 0 }, &mut || Ok(ours(1.0)), peers)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the peer other-work") && error.contains("501 tokens") && error.contains("500"), "{error}");
}
