//! The folder of an unfinished run that is to be resumed.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_report::EventWriter;
use nb_report::record::METRICS_FILE;
use serde::Serialize;

use super::entries::{Contents, entries, is_temporary, remove};
use super::lock::Lock;
use super::names::CHECKPOINTS;
use super::{RunFolder, Taken, Unfinished, Writer, take, write_config};

/// The folder of an unfinished run, locked against other processes.
#[derive(Debug)]
pub(crate) struct Halted {
    path: PathBuf,
    lock: Lock,
}

impl Halted {
    /// Takes the folder of the unfinished run at `wanted` or beside it; `None` if there is no such run.
    ///
    /// # Errors
    /// If another process uses the folder, or if it contains other files.
    pub(crate) fn take(wanted: &Path, unfinished: &Unfinished) -> Result<Option<Self>> {
        if RunFolder::unfinished(wanted)?.is_none() {
            return Ok(None);
        }
        let Taken { path, lock, contents } = take(wanted, unfinished)?;
        Ok(matches!(contents, Contents::Unfinished(_)).then_some(Self { path, lock }))
    }

    /// Returns the folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the run and starts another one in its folder.
    ///
    /// # Errors
    /// If a file cannot be removed or written.
    pub(crate) fn start_over(self, config: &impl Serialize) -> Result<RunFolder> {
        remove(&entries(&self.path)?)?;
        RunFolder::start(self.path, self.lock, config)
    }

    /// Opens the folder for a run that continues after `step` updates. Truncates `metrics.jsonl` to the `bytes` that it had
    /// then, and removes temporary files.
    ///
    /// # Errors
    /// If `metrics.jsonl` is shorter than `bytes`, or if a file cannot be written.
    pub(crate) fn open(self, config: &impl Serialize, step: u64, bytes: u64) -> Result<RunFolder> {
        let Self { path, lock } = self;
        let metrics = path.join(METRICS_FILE);
        let context = || format!("cannot continue {}", metrics.display());
        let mut file = OpenOptions::new().write(true).open(&metrics).with_context(context)?;
        let found = file.metadata().with_context(context)?.len();
        if found < bytes {
            bail!("{} has {found} bytes, expected the {bytes} that it had at step {step}", metrics.display());
        }
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes))).with_context(context)?;
        for folder in [path.clone(), path.join(CHECKPOINTS)].iter().filter(|folder| folder.is_dir()) {
            remove(&entries(folder)?.into_iter().filter(|entry| is_temporary(entry)).collect::<Vec<_>>())?;
        }
        write_config(&path, config)?;
        let events = EventWriter::resume(&path, step + 1)?;
        Ok(RunFolder { path, writer: Some(Writer { metrics: file, events, _lock: lock }) })
    }
}
