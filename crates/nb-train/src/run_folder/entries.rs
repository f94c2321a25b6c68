//! The entries of a run folder: finding them, telling them apart from other files, and removing them.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_report::record::{CONFIG_FILE, METRICS_FILE, OUTCOMES_FILE, SUMMARY_FILE};

use super::lock::LOCK;
use super::names::{CHECKPOINTS, REPORT};

/// The contents of a folder that a run might take.
#[derive(Debug)]
pub(super) enum Contents {
    /// Nothing.
    Nothing,
    /// The entries of an unfinished run.
    Unfinished(Vec<PathBuf>),
}

/// A folder that a run might take.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) contents: Contents,
}

/// Finds the first of `wanted`, `<wanted>-2` and so on that contains no finished run.
///
/// # Errors
/// If one of them contains files that are not from a run, or cannot be read.
pub(super) fn find_free(wanted: &Path) -> Result<Found> {
    let wanted_name =
        wanted.file_name().with_context(|| format!("output is {}, expected a folder's name", wanted.display()))?;
    let mut number = 1_u32;
    loop {
        let mut numbered = wanted_name.to_owned();
        if number > 1 {
            numbered.push(format!("-{number}"));
        }
        let path = wanted.with_file_name(numbered);
        let entries = entries(&path)?;
        if entries.is_empty() {
            return Ok(Found { path, contents: Contents::Nothing });
        }
        let is_started = path.join(CONFIG_FILE).exists() || entries.iter().all(|entry| is_temporary(entry));
        if let Some(entry) = entries.iter().find(|entry| !is_from_run(entry)) {
            bail!("{} contains {}, which is not from a run; choose another `output`", path.display(), name(entry));
        }
        if !is_started {
            bail!("{} contains files of a run without its {CONFIG_FILE}; choose another `output`", path.display());
        }
        if !path.join(SUMMARY_FILE).exists() {
            return Ok(Found { path, contents: Contents::Unfinished(entries) });
        }
        number += 1;
    }
}

/// Returns the entries of a folder except its lock; none if the folder does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot use {} as a run folder", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(context)?.path());
    }
    paths.retain(|path| name(path) != LOCK);
    Ok(paths)
}

/// Returns the name of an entry.
pub(super) fn name(entry: &Path) -> Cow<'_, str> {
    entry.file_name().unwrap_or_default().to_string_lossy()
}

/// Returns whether an entry of a folder is from a run.
fn is_from_run(entry: &Path) -> bool {
    let name = name(entry);
    [CONFIG_FILE, METRICS_FILE, SUMMARY_FILE, OUTCOMES_FILE, REPORT, CHECKPOINTS, "teacher", "student"]
        .contains(&name.as_ref())
        || name.starts_with("events.out.tfevents.")
        || is_temporary(entry)
}

/// Returns whether an entry is temporary: its writing was not completed.
pub(super) fn is_temporary(entry: &Path) -> bool {
    nb_files::is_temporary(&name(entry))
}

/// Removes entries of a run folder: checkpoints first, since a run must not resume from a partly removed one, and the
/// configuration last, since it marks the folder as a run folder.
pub(super) fn remove(entries: &[PathBuf]) -> Result<()> {
    let order = |entry: &&PathBuf| match name(entry).as_ref() {
        CHECKPOINTS => 0,
        CONFIG_FILE => 2,
        _ => 1,
    };
    let mut entries: Vec<&PathBuf> = entries.iter().collect();
    entries.sort_by_key(order);
    for entry in entries {
        let removed = if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) };
        removed.with_context(|| format!("cannot remove {}", entry.display()))?;
    }
    Ok(())
}
