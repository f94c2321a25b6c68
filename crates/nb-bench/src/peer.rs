//! Peers: Python programs, each in its own process, that work round by round.
//!
//! ```text
//! peer  → {"ready": true}            once, after warm-up, with its facts, see [`PeerFacts`]; or
//!         {"unavailable": "reason"}  after which it exits
//! bench → round                      one line per round; the peer is idle until it arrives
//! peer  → {"seconds": …, "sequences": …, "tokens": …, "peak_bytes": …, "latencies": […]}
//! bench → (end of input)             the peer exits
//! ```
//!
//! The standard error of a peer is shown only if the peer fails.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::details::Agreement;

/// Maximum number of the last lines of standard error in an error message.
const SHOWN_LINES: usize = 12;

/// Name and text of each program. They are written to a folder before they start, so the binary needs no other files.
const PROGRAMS: [(&str, &str); 6] = [
    ("common.py", include_str!("../peer/common.py")),
    ("train.py", include_str!("../peer/train.py")),
    ("infer.py", include_str!("../peer/infer.py")),
    ("models.py", include_str!("../peer/models.py")),
    ("classifier.py", include_str!("../peer/classifier.py")),
    ("data.py", include_str!("../peer/data.py")),
];

/// The work of one side in one round.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Round {
    /// Duration in seconds, measured by the side itself.
    pub seconds: f64,
    /// Number of texts, clicks or rows, depending on the case.
    pub sequences: u64,
    /// Number of real tokens; 0 for cases without tokens.
    pub tokens: u64,
    /// Peak memory of the side's process since warm-up, in bytes.
    pub peak_bytes: Option<u64>,
    /// Milliseconds of each call, if calls are timed individually.
    #[serde(default)]
    pub latencies: Vec<f64>,
}

/// Facts about a peer besides its speed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct PeerFacts {
    /// The settings that were the fastest of those that it tried, as text.
    pub settings: Option<String>,
    /// The agreement with the same library in f32.
    pub agreement: Option<Agreement>,
    /// Probabilities of the first texts, which show that it has the same model.
    #[serde(default)]
    pub probabilities: Vec<Vec<f64>>,
}

/// The time limits of a peer.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Limit for loading, compilation and warm-up.
    pub start: Duration,
    /// Limit for a round.
    pub round: Duration,
}

impl Default for Timeouts {
    /// Returns 30 minutes for the start, since compiling a large model on few cores takes minutes, and 15 minutes for a
    /// round.
    fn default() -> Self {
        Self { start: Duration::from_secs(1800), round: Duration::from_secs(900) }
    }
}

/// The Python that peers run on.
#[derive(Debug, Clone)]
pub struct Python {
    /// The interpreter.
    pub program: PathBuf,
    /// Number of threads for OpenMP and for tokenizers.
    pub threads: usize,
}

/// A peer that is ready.
#[derive(Debug)]
pub struct Peer {
    mode: String,
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    stderr: StderrTail,
    timeouts: Timeouts,
    facts: PeerFacts,
}

/// The result of starting a peer.
#[derive(Debug)]
pub enum Startup {
    /// The peer is ready for rounds.
    Ready(Peer),
    /// The mode is unavailable here, for this reason.
    Unavailable(String),
}

/// Writes the programs of the peers into `folder`.
///
/// # Errors
/// If a program cannot be written.
pub fn write_programs(folder: &Path) -> Result<()> {
    for (name, text) in PROGRAMS {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Python {
    /// Returns the command that runs a program with as many threads as our side.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let threads = self.threads.to_string();
        command.arg("-u").arg(program);
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            command.env(name, &threads);
        }
        command.env("TOKENIZERS_PARALLELISM", "true").env("HF_HUB_OFFLINE", "1");
        // Under cargo the library search path contains our libtorch, but the peer must load its own.
        match std::env::var_os("LD_LIBRARY_PATH").map(|paths| without_libtorch(&paths)) {
            Some(paths) if !paths.is_empty() => command.env("LD_LIBRARY_PATH", paths),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
        command
    }
}

/// Removes the folders that contain a libtorch from a search path.
fn without_libtorch(paths: &OsString) -> OsString {
    let folders = std::env::split_paths(paths).filter(|folder| !folder.join("libtorch_cpu.so").exists());
    std::env::join_paths(folders).unwrap_or_default()
}

impl Peer {
    /// Starts `program` in `mode` on a job and waits until it is ready.
    ///
    /// # Errors
    /// If the peer cannot be started, exits, gives an unexpected answer or takes too long. The error contains the mode
    /// and the last lines of standard error.
    pub fn start(python: &Python, program: &Path, job: &Path, mode: &str, timeouts: Timeouts) -> Result<Startup> {
        let mut command = python.command(program);
        command.arg("--job").arg(job).args(["--mode", mode]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", python.program.display()))?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("the peer {mode} has no pipes");
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break; // the receiver was dropped
                }
            }
        });
        let stderr = StderrTail::listen(errors);
        let (mode, facts) = (mode.to_owned(), PeerFacts::default());
        let mut peer = Self { mode, child, input: Some(input), answers, stderr, timeouts, facts };
        let answer = peer.answer("the start", timeouts.start)?;
        if let Some(reason) = answer["unavailable"].as_str() {
            return Ok(Startup::Unavailable(reason.to_owned()));
        }
        if answer["ready"] != true {
            return Err(peer.failed(&format!("answered {answer}, expected ready or unavailable")));
        }
        peer.facts = serde_json::from_value(answer.clone())
            .map_err(|e| peer.failed(&format!("answered {answer}, expected its facts: {e}")))?;
        Ok(Startup::Ready(peer))
    }

    /// Returns the mode of the peer.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Returns its facts.
    pub fn facts(&self) -> &PeerFacts {
        &self.facts
    }

    /// Runs one round.
    ///
    /// # Errors
    /// If the peer exits, gives an unexpected answer or takes too long. The error contains the mode and the last lines
    /// of standard error.
    pub fn round(&mut self) -> Result<Round> {
        let request = self.input.as_mut().map(|input| writeln!(input, "round").and_then(|()| input.flush()));
        if !matches!(request, Some(Ok(()))) {
            return Err(self.died());
        }
        let answer = self.answer("a round", self.timeouts.round)?;
        serde_json::from_value(answer.clone())
            .map_err(|e| self.failed(&format!("answered {answer}, expected a round: {e}")))
    }

    /// Reads the next line as JSON. `activity` names what the peer is doing, for the error of a timeout.
    fn answer(&mut self, activity: &str, within: Duration) -> Result<Value> {
        match self.answers.recv_timeout(within) {
            Ok(line) => {
                serde_json::from_str(&line).map_err(|_| self.failed(&format!("answered `{line}`, expected JSON")))
            }
            Err(RecvTimeoutError::Timeout) => {
                _ = self.child.kill(); // fails only if the process has exited
                Err(self.failed(&format!("took longer than {} s for {activity}", within.as_secs_f64())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
        }
    }

    /// Returns the error of a peer that exited too early.
    fn died(&mut self) -> anyhow::Error {
        match self.child.wait() {
            Ok(status) => self.failed(&format!("exited with {status}")),
            Err(error) => self.failed(&format!("is lost: {error}")),
        }
    }

    /// Ends the peer and returns an error with the last lines of its standard error.
    fn failed(&mut self, failure: &str) -> anyhow::Error {
        self.input = None;
        _ = self.child.kill(); // its results are useless now, and its exit closes standard error
        _ = self.child.wait();
        anyhow!("the peer {} {failure}{}", self.mode, self.stderr.text())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A peer exits at the end of its input; one that does not is killed after a second.
        self.input = None;
        for _ in 0..20 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The last lines of standard error of a process.
#[derive(Debug)]
struct StderrTail {
    lines: Arc<Mutex<VecDeque<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl StderrTail {
    fn listen(errors: impl std::io::Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let shared = Arc::clone(&lines);
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
                let mut lines = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == SHOWN_LINES {
                    lines.pop_front();
                }
                lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        });
        Self { lines, listener: Some(listener) }
    }

    /// Returns the lines, each indented on a new line. The process must have exited.
    fn text(&mut self) -> String {
        // A grandchild may hold the pipe open; after a second, the lines read so far must suffice.
        for _ in 0..20 {
            if self.listener.as_ref().is_none_or(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |mut text, line| {
            _ = write!(text, "\n  | {line}"); // writing to a String cannot fail
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_a_libtorch_are_removed_from_the_search_path() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("torch");
        std::fs::create_dir(&ours).unwrap();
        std::fs::write(ours.join("libtorch_cpu.so"), "").unwrap();
        let paths = std::env::join_paths([ours.as_path(), folder.path()]).unwrap();
        assert_eq!(without_libtorch(&paths), folder.path().as_os_str());
        assert_eq!(without_libtorch(&ours.into_os_string()), "");
    }
}
