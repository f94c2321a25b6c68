//! The state that all cases of one call share: corpora, scratch folder, teacher, peers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_train::config::DeviceChoice;
use serde_json::Value;
use tempfile::TempDir;

use crate::cases::Corpora;
use crate::interleave::{Peers, Rounds};
use crate::options::{NumberFormat, Options, PeerLibrary};
use crate::peer::{self, Peer, Python, Startup, Timeouts};
use crate::random;

/// The state that all cases of one call share.
#[derive(Debug)]
pub struct BenchContext {
    /// The corpora to read.
    pub corpora: Corpora,
    /// The folder of the data sets.
    pub data: PathBuf,
    /// The teacher: a folder or `hf:owner/name`.
    pub teacher: String,
    /// Number of student layers.
    pub layers: usize,
    /// Number formats to measure in.
    pub formats: Vec<NumberFormat>,
    /// Number of CPU threads on each side.
    pub threads: usize,
    /// The rounds of each case.
    pub rounds: Rounds,
    /// The device that models run on.
    pub device: DeviceChoice,
    /// The libraries to compare with.
    pub against: Vec<PeerLibrary>,
    /// The Python interpreter of the peers.
    pub python: Option<PathBuf>,
    scratch: TempDir,
}

impl BenchContext {
    /// Creates the context, with a scratch folder for token stores, the sample corpus, models and jobs. The folder is
    /// deleted when the context is dropped.
    ///
    /// # Errors
    /// If the folder, or a teacher with random weights, cannot be created.
    pub fn new(options: &Options) -> Result<Self> {
        let scratch = TempDir::with_prefix("nb-bench-").context("cannot create a temporary folder")?;
        let teacher = match options.random {
            None => options.teacher.clone(),
            Some(shape) => {
                let folder = random::write_model(shape, &options.teacher, scratch.path().join("random"))?;
                utf8(&folder)?.to_owned()
            }
        };
        Ok(Self {
            corpora: Corpora::open(&options.data, scratch.path())?,
            data: options.data.clone(),
            teacher,
            layers: options.layers,
            formats: options.precision.formats(),
            threads: options.thread_count(),
            rounds: Rounds { count: usize::from(options.rounds.get()), busy_threads: usize::from(options.beside_load) },
            device: options.device,
            against: options.against.clone(),
            python: options.python.clone(),
            scratch,
        })
    }

    /// Returns a path in the scratch folder.
    pub fn scratch_path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Creates a folder in the scratch folder and returns its path.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn scratch_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.scratch_path(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Starts one peer per mode, all with the same job. Without modes there are none.
    ///
    /// # Errors
    /// If a peer fails, or if none is available here.
    pub fn start_peers(&self, program: &str, job: &Value, modes: &[&str]) -> Result<Peers> {
        let mut peers = Peers::default();
        if modes.is_empty() {
            return Ok(peers);
        }
        let Some(interpreter) = &self.python else {
            bail!("--against needs --python: an interpreter with the packages of crates/nb-bench/peer/requirements.txt")
        };
        let python = Python { program: interpreter.clone(), threads: self.threads };
        let folder = self.scratch_folder("peer")?;
        peer::write_programs(&folder)?;
        let job_path = folder.join("job.json");
        std::fs::write(&job_path, job.to_string()).with_context(|| format!("cannot write {}", job_path.display()))?;
        for mode in modes {
            tracing::info!("{mode}: starting");
            match Peer::start(&python, &folder.join(program), &job_path, mode, Timeouts::default())? {
                Startup::Ready(peer) => peers.ready.push(peer),
                Startup::Unavailable(reason) => {
                    tracing::warn!("skipping {mode}: {reason}");
                    peers.skipped.insert((*mode).to_owned(), reason);
                }
            }
        }
        if peers.ready.is_empty() {
            let reasons = peers.skipped.iter().map(|(mode, reason)| format!("{mode}: {reason}")).collect::<Vec<_>>();
            bail!("no peer is available: {}", reasons.join("; "));
        }
        Ok(peers)
    }

    /// Checks that there is no library to compare with but PyTorch, for benches that know no other.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_torch_alone(&self) -> Result<()> {
        match self.against.iter().find(|&&library| library != PeerLibrary::Torch) {
            Some(other) => bail!("--against {} is for infer, expected torch", other.name()),
            None => Ok(()),
        }
    }
}

/// Returns a path as text, for configurations and jobs.
///
/// # Errors
/// If it is not UTF-8.
pub fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: expected a path in UTF-8", path.display()))
}
