//! The run folder: which process may take it, and the files that a run writes into it.

pub(crate) mod best;
pub(crate) mod checkpoint;
pub(crate) mod clock;
mod entries;
mod halted;
mod lock;
mod names;
pub(crate) mod provenance;
mod scalars;
mod unfinished;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_report::EventWriter;
use nb_report::record::{CONFIG_FILE, Line, METRICS_FILE, SUMMARY_FILE, Summary};
use serde::Serialize;

use crate::atomic_file::write_file;
use crate::run_folder::entries::{Contents, entries, find_free, is_temporary, name, remove};
use crate::run_folder::lock::{LOCK, Lock};
use crate::run_folder::scalars::scalars;

pub(crate) use halted::Halted;
pub(crate) use names::{CHECKPOINTS, REPORT};
pub use unfinished::{Accepted, Unfinished};

/// The folder of one run, locked against other runs.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Present in the process that writes. The other processes of a run store only the path.
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    metrics: File,
    events: EventWriter,
    _lock: Lock,
}

/// A folder that a run has taken.
#[derive(Debug)]
struct Taken {
    path: PathBuf,
    lock: Lock,
    contents: Contents,
}

impl RunFolder {
    /// Checks that a run could take `wanted`, before anything costly is done. Changes nothing.
    ///
    /// # Errors
    /// Same as [`RunFolder::create`].
    pub(crate) fn check(wanted: &Path, unfinished: &Unfinished) -> Result<()> {
        let found = find_free(wanted)?;
        Lock::check(&found.path)?;
        may_take(&found.path, &found.contents, unfinished)
    }

    /// Takes `wanted` for a new run, or `<wanted>-2` and so on if finished runs are there. Removes an unfinished run unless
    /// `unfinished` is [`Unfinished::Refuse`].
    ///
    /// # Errors
    /// If an unfinished run is refused, if another process uses the folder, if it contains other files, or if it cannot be
    /// written.
    pub(crate) fn create(wanted: &Path, config: &impl Serialize, unfinished: &Unfinished) -> Result<Self> {
        let Taken { path, lock, contents } = take(wanted, unfinished)?;
        if let Contents::Unfinished(entries) = contents {
            remove(&entries)?;
        }
        if path != wanted {
            tracing::info!("{} contains a finished run; writing this one to {}", wanted.display(), path.display());
        }
        Self::start(path, lock, config)
    }

    /// Returns the folder of the unfinished run at `wanted` or beside it.
    ///
    /// # Errors
    /// If the folder contains other files.
    pub(crate) fn unfinished(wanted: &Path) -> Result<Option<PathBuf>> {
        let found = find_free(wanted)?;
        Ok(matches!(found.contents, Contents::Unfinished(_)).then_some(found.path))
    }

    /// Removes the checkpoints and the lock of a finished run whose process was killed before it could remove them. A process
    /// that is still running removes them itself.
    pub(crate) fn tidy(finished: &Path) {
        if ![CHECKPOINTS, LOCK].iter().any(|name| finished.join(name).exists()) {
            return;
        }
        let Ok(_lock) = Lock::take(finished) else { return };
        let is_stale = |entry: &PathBuf| name(entry) == CHECKPOINTS || is_temporary(entry);
        let removed = entries(finished).and_then(|all| remove(&all.into_iter().filter(is_stale).collect::<Vec<_>>()));
        if let Err(e) = removed {
            tracing::warn!("{}: cannot remove the checkpoints of a finished run: {e:#}", finished.display());
        }
    }

    /// Writes the first files of a run into an empty folder.
    fn start(path: PathBuf, lock: Lock, config: &impl Serialize) -> Result<Self> {
        write_config(&path, config)?;
        let metrics = path.join(METRICS_FILE);
        let metrics = File::create(&metrics).with_context(|| format!("cannot write {}", metrics.display()))?;
        let events = EventWriter::create(&path)?;
        Ok(Self { path, writer: Some(Writer { metrics, events, _lock: lock }) })
    }

    /// Describes a folder that another process of the run writes to.
    pub(crate) fn of_another(path: PathBuf) -> Self {
        Self { path, writer: None }
    }

    /// Returns whether this process writes to the folder.
    pub(crate) fn is_ours(&self) -> bool {
        self.writer.is_some()
    }

    /// Returns the folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line to `metrics.jsonl`, and its numbers to the TensorBoard events at its `step`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn log(&mut self, line: &Line) -> Result<()> {
        let Some(Writer { metrics, events, .. }) = &mut self.writer else { return Ok(()) };
        let json = serde_json::to_value(line)?;
        // One write: a killed process must not leave half a line.
        let written = metrics.write_all(format!("{json}\n").as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.join(METRICS_FILE).display()))?;
        let event = json["event"].as_str().unwrap_or_default();
        for (tag, value) in scalars(event, &json) {
            events.scalar(line.step().unwrap_or_default(), &tag, value)?;
        }
        Ok(events.flush()?)
    }

    /// Flushes `metrics.jsonl` to disk and returns its size in bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn sync(&self) -> Result<u64> {
        let Some(Writer { metrics, .. }) = &self.writer else { return Ok(0) };
        let bytes = metrics.sync_all().and_then(|()| metrics.metadata()).map(|m| m.len());
        bytes.with_context(|| format!("cannot write {}", self.path.join(METRICS_FILE).display()))
    }

    /// Writes `summary.json`, which marks the run as finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn finish(&self, summary: &Summary) -> Result<()> {
        let json = serde_json::to_string_pretty(summary)?;
        write_file(&self.path.join(SUMMARY_FILE), format!("{json}\n").as_bytes())
    }
}

fn write_config(folder: &Path, config: &impl Serialize) -> Result<()> {
    write_file(&folder.join(CONFIG_FILE), serde_yaml::to_string(config)?.as_bytes())
}

/// Locks the folder that a run may take.
fn take(wanted: &Path, unfinished: &Unfinished) -> Result<Taken> {
    loop {
        let found = find_free(wanted)?;
        Lock::check(&found.path)?;
        may_take(&found.path, &found.contents, unfinished)?;
        fs::create_dir_all(&found.path)
            .with_context(|| format!("cannot create the run folder {}", found.path.display()))?;
        let lock = Lock::take(&found.path)?;
        // Another process may have taken a folder between the search and the lock.
        let again = find_free(wanted)?;
        if again.path == found.path {
            may_take(&again.path, &again.contents, unfinished)?;
            return Ok(Taken { path: again.path, lock, contents: again.contents });
        }
    }
}

fn may_take(path: &Path, contents: &Contents, unfinished: &Unfinished) -> Result<()> {
    if matches!((contents, unfinished), (Contents::Unfinished(_), Unfinished::Refuse)) {
        bail!(
            "{} contains an unfinished run; --resume continues it, --overwrite removes it and starts over",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &Path, unfinished: Unfinished) -> Result<RunFolder> {
        RunFolder::create(path, &"config", &unfinished)
    }

    #[test]
    fn a_finished_run_is_kept_and_an_unfinished_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("run");
        let first = create(&wanted, Unfinished::Refuse).unwrap();
        assert_eq!(first.path(), wanted);
        for unfinished in [Unfinished::Refuse, Unfinished::Overwrite] {
            let error = create(&wanted, unfinished).unwrap_err().to_string();
            assert!(error.contains("another run uses"), "{error}");
        }
        drop(first);
        let error = create(&wanted, Unfinished::Refuse).unwrap_err().to_string();
        assert!(["unfinished", "--overwrite", "--resume"].iter().all(|word| error.contains(word)), "{error}");
        create(&wanted, Unfinished::Overwrite).unwrap().finish(&Summary::default()).unwrap();
        assert!(create(&wanted, Unfinished::Refuse).unwrap().path().ends_with("run-2"));
        let again = create(&wanted, Unfinished::Overwrite).unwrap();
        assert!(again.path().ends_with("run-2") && wanted.join(SUMMARY_FILE).exists());
    }

    #[test]
    fn a_folder_with_other_files_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        for unfinished in [Unfinished::Refuse, Unfinished::Overwrite] {
            let error = create(folder.path(), unfinished).unwrap_err().to_string();
            assert!(error.contains("not from a run"), "{error}");
        }
        // Not even if one file has the name of a run's configuration.
        fs::write(folder.path().join(CONFIG_FILE), "mine").unwrap();
        assert!(create(folder.path(), Unfinished::Overwrite).is_err());
        assert!(folder.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_run_folder_without_its_configuration_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SUMMARY_FILE), "{}").unwrap();
        let error = create(folder.path(), Unfinished::Overwrite).unwrap_err().to_string();
        assert!(error.contains("contains files of a run without its config.yaml"), "{error}");
        assert!(folder.path().join(SUMMARY_FILE).exists());
    }

    #[test]
    fn a_trailing_slash_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = PathBuf::from(format!("{}/run/", folder.path().display()));
        create(&wanted, Unfinished::Refuse).unwrap().finish(&Summary::default()).unwrap();
        assert_eq!(create(&wanted, Unfinished::Refuse).unwrap().path(), folder.path().join("run-2"));
    }
}
