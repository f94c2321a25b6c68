//! A peer: a Python program in a process of its own that works round by round.
//!
//! ```text
//! peer  → {"ready": true}                          once, after warm-up; or {"unavailable": "why"}, and its end
//! bench → round                                    one line; the peer waits for it without work
//! peer  → {"seconds": …, "sequences": …, "tokens": …, "peak_bytes": …, "latencies": […]}
//! bench → (end of input)                           the peer ends
//! ```
//!
//! What the peer says on standard error is kept and shown only if it fails.

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

/// Last lines of standard error that an error shows.
const SHOWN_LINES: usize = 12;

/// The programs, each with its name; they are written out to be started, so that the binary needs no folder beside it.
const PROGRAMS: [(&str, &str); 4] = [
    ("common.py", include_str!("../peer/common.py")),
    ("train.py", include_str!("../peer/train.py")),
    ("infer.py", include_str!("../peer/infer.py")),
    ("data.py", include_str!("../peer/data.py")),
];

/// What one side did in one round.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Round {
    /// Time by the side's own clock.
    pub seconds: f64,
    /// What the case counts: texts, clicks, rows.
    pub sequences: u64,
    /// Real tokens; 0 where there are none.
    pub tokens: u64,
    /// The most memory the side's process has held since warm-up.
    pub peak_bytes: Option<u64>,
    /// Milliseconds of each call, where calls are timed one by one.
    #[serde(default)]
    pub latencies: Vec<f64>,
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To load, to compile and to warm up.
    pub start: Duration,
    /// For a round.
    pub round: Duration,
}

impl Default for Patience {
    /// Half an hour to start, since compiling a large model on few cores takes minutes; a quarter of an hour for a round.
    fn default() -> Self {
        Self { start: Duration::from_secs(1800), round: Duration::from_secs(900) }
    }
}

/// What starts peers.
#[derive(Debug, Clone)]
pub struct Python {
    /// The interpreter.
    pub program: PathBuf,
    /// Threads of OpenMP and of tokenizers.
    pub threads: usize,
}

/// A peer that is ready.
#[derive(Debug)]
pub struct Peer {
    mode: String,
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    words: Words,
    patience: Patience,
}

/// How a start ended.
#[derive(Debug)]
pub enum Started {
    /// Rounds can begin.
    Ready(Peer),
    /// The mode does not work here, and why.
    Unavailable(String),
}

/// Writes the peers' programs into `folder`.
///
/// # Errors
/// If it cannot be written.
pub fn write_programs(folder: &Path) -> Result<()> {
    for (name, text) in PROGRAMS {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Python {
    /// The call of a program, with as many threads as ours.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let threads = self.threads.to_string();
        command.arg("-u").arg(program);
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            command.env(name, &threads);
        }
        command.env("TOKENIZERS_PARALLELISM", "true").env("HF_HUB_OFFLINE", "1");
        // Where cargo started us, our libtorch is in the search path: the peer must find its own.
        match std::env::var_os("LD_LIBRARY_PATH").map(|paths| without_libtorch(&paths)) {
            Some(paths) if !paths.is_empty() => command.env("LD_LIBRARY_PATH", paths),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
        command
    }
}

fn without_libtorch(paths: &OsString) -> OsString {
    let kept = std::env::split_paths(paths).filter(|folder| !folder.join("libtorch_cpu.so").exists());
    std::env::join_paths(kept).unwrap_or_default()
}

impl Peer {
    /// Starts `program` in `mode` on a job and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be started, dies, says something else or takes too long; with its mode and its last words.
    pub fn start(python: &Python, program: &Path, job: &Path, mode: &str, patience: Patience) -> Result<Started> {
        let mut command = python.command(program);
        command.arg("--job").arg(job).args(["--mode", mode]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", python.program.display()))?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("a peer without pipes");
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break; // nobody listens any more
                }
            }
        });
        let words = Words::listen(errors);
        let mut peer = Self { mode: mode.to_owned(), child, input: Some(input), answers, words, patience };
        let answer = peer.answer("getting ready", patience.start)?;
        if let Some(why) = answer["unavailable"].as_str() {
            return Ok(Started::Unavailable(why.to_owned()));
        }
        if answer["ready"] != true {
            return Err(peer.failed(&format!("said {answer} in place of being ready")));
        }
        Ok(Started::Ready(peer))
    }

    /// Its mode.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Lets it work one round.
    ///
    /// # Errors
    /// If it dies, says something else or takes too long; with its mode and its last words.
    pub fn round(&mut self) -> Result<Round> {
        let asked = self.input.as_mut().map(|input| writeln!(input, "round").and_then(|()| input.flush()));
        if !matches!(asked, Some(Ok(()))) {
            return Err(self.died());
        }
        let answer = self.answer("a round", self.patience.round)?;
        serde_json::from_value(answer.clone()).map_err(|e| self.failed(&format!("said {answer} ({e})")))
    }

    /// The next line as JSON.
    fn answer(&mut self, doing: &str, within: Duration) -> Result<Value> {
        match self.answers.recv_timeout(within) {
            Ok(line) => serde_json::from_str(&line).map_err(|_| self.failed(&format!("said `{line}`, expected JSON"))),
            Err(RecvTimeoutError::Timeout) => {
                _ = self.child.kill(); // it fails only where the process has ended
                Err(self.failed(&format!("took longer than {} s for {doing}", within.as_secs_f64())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
        }
    }

    /// The error of a peer that has ended too early.
    fn died(&mut self) -> anyhow::Error {
        match self.child.wait() {
            Ok(status) => self.failed(&format!("ended with {status}")),
            Err(error) => self.failed(&format!("is gone: {error}")),
        }
    }

    fn failed(&mut self, how: &str) -> anyhow::Error {
        self.input = None;
        _ = self.child.kill(); // whatever it is doing now is of no use, and its last words end with it
        _ = self.child.wait();
        anyhow!("the peer {} {how}{}", self.mode, self.words.last())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // End of input lets it end by itself; one that does not listen is ended.
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

/// The last lines of a process's standard error.
#[derive(Debug)]
struct Words {
    lines: Arc<Mutex<VecDeque<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl Words {
    fn listen(errors: impl std::io::Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&lines);
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == SHOWN_LINES {
                    kept.pop_front();
                }
                kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        });
        Self { lines, listener: Some(listener) }
    }

    /// What was said last, a line each; the process must have ended.
    fn last(&mut self) -> String {
        // A grandchild may hold the pipe open: then what has come so far must do.
        for _ in 0..20 {
            if self.listener.as_ref().is_none_or(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |mut text, line| {
            _ = write!(text, "\n  | {line}"); // a String takes everything
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_a_libtorch_are_left_out_of_the_search_path() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("torch");
        std::fs::create_dir(&ours).unwrap();
        std::fs::write(ours.join("libtorch_cpu.so"), "").unwrap();
        let paths = std::env::join_paths([ours.as_path(), folder.path()]).unwrap();
        assert_eq!(without_libtorch(&paths), folder.path().as_os_str());
        assert_eq!(without_libtorch(&ours.into_os_string()), "");
    }
}
