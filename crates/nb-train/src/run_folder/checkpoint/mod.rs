//! Checkpoints: a resumed run continues bit for bit as if it had never stopped.
//!
//! `checkpoints/step-<updates>/` in the run folder contains `state.safetensors` (the values and both AdamW moments of every
//! parameter group), `state.json` ([`State`] and [`Identity`]) and `manifest.json` (size and BLAKE3 hash of both files). Random
//! numbers are a function of the seed and the step, so there is no generator to save; the position in an epoch follows from
//! the step.
//!
//! A checkpoint is written to a temporary folder, flushed to disk and renamed; older checkpoints are removed only after that.
//! Reading runs no code, and allocates nothing before sizes and hashes are verified.

mod files;
mod identity;
mod state;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::atomic_file::replace_folder;
use crate::config::CheckpointEvery;
use crate::optim::ParamGroup;
use crate::run_folder::names::CHECKPOINTS;

pub(crate) use identity::{Difference, Identity};
pub(crate) use state::{Saved, State};

/// A complete checkpoint on disk.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    folder: PathBuf,
    /// Its `state.json`.
    pub saved: Saved,
}

/// The checkpoints of a run in progress.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    every: CheckpointEvery,
    keep: usize,
    last: Instant,
}

impl Checkpoints {
    /// Describes the checkpoints in the folder of a run: one per `every`, of which the newest `keep` remain.
    pub(crate) fn new(run: &Path, every: CheckpointEvery, keep: usize) -> Self {
        Self { folder: run.join(CHECKPOINTS), every, keep, last: Instant::now() }
    }

    /// Returns whether a checkpoint is due after `step` updates.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        match self.every {
            CheckpointEvery::Never => false,
            CheckpointEvery::Steps(n) => step.is_multiple_of(n),
            CheckpointEvery::Seconds(n) => self.last.elapsed() >= Duration::from_secs(n),
        }
    }

    /// Saves a checkpoint, then removes the oldest ones beyond the number to keep.
    ///
    /// # Errors
    /// If it cannot be written; earlier checkpoints remain.
    pub(crate) fn save(&mut self, saved: &Saved, groups: &[ParamGroup]) -> Result<()> {
        let result = self.write(saved, groups);
        self.last = Instant::now(); // also after a failure: otherwise every step would try again
        result
    }

    fn write(&self, saved: &Saved, groups: &[ParamGroup]) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        let path = self.folder.join(name(saved.state.step));
        replace_folder(&path, |folder| files::write(folder, saved, groups))?;
        let all = list(&self.folder)?;
        // A run that skipped a damaged checkpoint is at an earlier step. The damaged one is useless, and the run will reach its
        // step again.
        let (later, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(step, _)| *step > saved.state.step);
        for (_, old) in later.iter().chain(rest.iter().skip(self.keep)) {
            if let Err(e) = fs::remove_dir_all(old) {
                tracing::warn!("cannot remove {}: {e}", old.display());
            }
        }
        Ok(())
    }

    /// Removes all checkpoints of a finished run.
    pub(crate) fn remove(&self) {
        if let Err(e) = fs::remove_dir_all(&self.folder)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {e}", self.folder.display());
        }
    }
}

impl Checkpoint {
    /// Reads the newest complete checkpoint of a run folder, and logs the checkpoints that it skips. Returns `None` if the
    /// folder has no checkpoint.
    ///
    /// # Errors
    /// If there are checkpoints, but none is complete.
    pub(crate) fn newest(run: &Path) -> Result<Option<Self>> {
        let all = list(&run.join(CHECKPOINTS))?;
        for (_, folder) in &all {
            match files::read(folder) {
                Ok(saved) => return Ok(Some(Self { folder: folder.clone(), saved })),
                Err(e) => tracing::warn!("skipped {}: {e:#}", folder.display()),
            }
        }
        match all.len() {
            0 => Ok(None),
            n => bail!("{}: none of {n} checkpoints is complete; --overwrite starts the run over", run.display()),
        }
    }

    /// Restores parameters and moments.
    ///
    /// # Errors
    /// If the checkpoint's tensors do not match `groups`.
    pub(crate) fn restore(&self, groups: &mut [ParamGroup]) -> Result<()> {
        files::restore(&self.folder, groups)
    }

    /// Returns the checkpoint's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Returns the name of a checkpoint's folder. Steps are padded to nine digits, so names sort by step.
fn name(step: u64) -> String {
    format!("step-{step:09}")
}

/// Returns the folders of checkpoints with their steps, newest first.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let context = || format!("cannot read {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.with_context(context)?.path();
        let step = path.file_name().and_then(|name| name.to_str()?.strip_prefix("step-")?.parse::<u64>().ok());
        all.extend(step.map(|step| (step, path)));
    }
    all.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(step: u64) -> Saved {
        Saved { state: State { step, ..State::default() }, metrics: 7, identity: Identity::default() }
    }

    fn checkpoints(run: &Path, every: CheckpointEvery) -> Checkpoints {
        Checkpoints::new(run, every, 2)
    }

    #[test]
    fn only_the_newest_checkpoints_remain() {
        let run = tempfile::tempdir().unwrap();
        assert!(Checkpoint::newest(run.path()).unwrap().is_none());
        let mut checkpoints = checkpoints(run.path(), CheckpointEvery::Steps(5));
        for step in [5, 10, 999_999_999, 1_000_000_000] {
            checkpoints.save(&saved(step), &[]).unwrap();
        }
        let newest = Checkpoint::newest(run.path()).unwrap().unwrap();
        assert_eq!((newest.saved.state.step, newest.saved.metrics), (1_000_000_000, 7));
        let steps = || list(&run.path().join(CHECKPOINTS)).unwrap().iter().map(|(step, _)| *step).collect::<Vec<_>>();
        assert_eq!(steps(), [1_000_000_000, 999_999_999]);
        checkpoints.save(&saved(20), &[]).unwrap();
        assert_eq!(steps(), [20], "later checkpoints are removed");
        checkpoints.remove();
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    }

    #[test]
    fn damaged_checkpoints_are_skipped_unless_all_are_damaged() {
        let run = tempfile::tempdir().unwrap();
        let mut checkpoints = checkpoints(run.path(), CheckpointEvery::Never);
        checkpoints.save(&saved(3), &[]).unwrap();
        checkpoints.save(&saved(4), &[]).unwrap();
        let newest = Checkpoint::newest(run.path()).unwrap().unwrap();
        fs::write(newest.folder().join("state.json"), "{}").unwrap();
        let older = Checkpoint::newest(run.path()).unwrap().unwrap();
        assert_eq!(older.saved.state.step, 3);
        fs::remove_file(older.folder().join("manifest.json")).unwrap();
        let error = Checkpoint::newest(run.path()).unwrap_err().to_string();
        assert!(error.contains("none of 2 checkpoints is complete") && error.contains("--overwrite"), "{error}");
    }

    #[test]
    fn checkpoints_are_due_at_their_steps_or_after_their_interval() {
        let due = |every, step| checkpoints(Path::new("run"), every).is_due(step);
        assert!(!due(CheckpointEvery::Never, 0) && !due(CheckpointEvery::Seconds(3600), 100));
        assert!(due(CheckpointEvery::Steps(4), 8) && !due(CheckpointEvery::Steps(4), 9));
        let mut checkpoints = checkpoints(Path::new("run"), CheckpointEvery::Seconds(60));
        checkpoints.last = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
        assert!(checkpoints.is_due(1));
    }
}
