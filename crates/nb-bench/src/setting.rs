//! What all benches of a call have in common.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_train::config::{DeviceChoice, PrecisionChoice};
use serde_json::Value;
use tempfile::TempDir;

use crate::cases::Corpora;
use crate::peer::{self, Patience, Peer, Python, Started};
use crate::random;
use crate::turns::Peers;

/// What is run beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Against {
    /// PyTorch with Hugging Face's models, eager and compiled; `tokenizers` where texts are read
    Torch,
    /// onnxruntime in f32 (infer)
    Onnx,
}

/// What all benches of a call have in common.
#[derive(Debug)]
pub struct Setting {
    /// Where the texts lie.
    pub corpora: Corpora,
    /// The folder of the data sets.
    pub data: PathBuf,
    /// A folder or `hf:owner/name`.
    pub teacher: String,
    /// The student's depth.
    pub layers: usize,
    /// Number formats.
    pub precisions: Vec<PrecisionChoice>,
    /// CPU threads of both sides.
    pub threads: usize,
    /// Rounds of each case.
    pub rounds: usize,
    /// Where models compute.
    pub device: DeviceChoice,
    /// What is run beside ours.
    pub against: Vec<Against>,
    /// The interpreter of what is run beside ours.
    pub python: Option<PathBuf>,
    scratch: TempDir,
}

impl Setting {
    /// A setting with a folder for what lives as long as the call: token stores, sample corpus, models, jobs.
    ///
    /// # Errors
    /// If that folder, or a teacher of random weights, cannot be made.
    pub fn new(options: &crate::cli::Options) -> Result<Self> {
        let scratch = TempDir::with_prefix("nb-bench-").context("cannot make a folder for temporary files")?;
        let teacher = match options.random {
            None => options.teacher.clone(),
            Some(shape) => text(&random::write(shape, &options.teacher, scratch.path().join("random"))?)?.to_owned(),
        };
        Ok(Self {
            corpora: Corpora::open(&options.data, scratch.path())?,
            data: options.data.clone(),
            teacher,
            layers: options.layers,
            precisions: options.precision.choices(),
            threads: options.threads(),
            rounds: usize::from(options.rounds.get()),
            device: options.device,
            against: options.against.clone(),
            python: options.python.clone(),
            scratch,
        })
    }

    /// A path that is gone after the call.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A folder that is gone after the call.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Starts a peer for each of `modes`, all on one job; none if nothing is to be run beside ours.
    ///
    /// # Errors
    /// If one fails, or if none works here.
    pub fn peers(&self, program: &str, job: &Value, modes: &[&str]) -> Result<Peers> {
        let mut peers = Peers::default();
        if modes.is_empty() {
            return Ok(peers);
        }
        let Some(program_of_python) = &self.python else {
            bail!("--against needs --python: an interpreter that has what crates/nb-bench/peer/requirements.txt lists")
        };
        let python = Python { program: program_of_python.clone(), threads: self.threads };
        let folder = self.folder("peer")?;
        peer::write_programs(&folder)?;
        let path = folder.join("job.json");
        std::fs::write(&path, job.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        for mode in modes {
            tracing::info!("{mode}: starting");
            match Peer::start(&python, &folder.join(program), &path, mode, Patience::default())? {
                Started::Ready(peer) => peers.ready.push(peer),
                Started::Unavailable(why) => {
                    tracing::warn!("{mode} is skipped: {why}");
                    peers.skipped.insert((*mode).to_owned(), why);
                }
            }
        }
        if peers.ready.is_empty() {
            bail!("no peer works here: {:?}", peers.skipped);
        }
        Ok(peers)
    }

    /// Whether something is to be run beside ours.
    pub fn is_against(&self, what: Against) -> bool {
        self.against.contains(&what)
    }
}

/// A path as configurations and jobs hold it.
///
/// # Errors
/// If it is not UTF-8.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: expected a path in UTF-8", path.display()))
}
