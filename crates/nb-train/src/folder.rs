//! Folders and files that are whole or not there: the run folder, and what is replaced in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_report::EventWriter;
use serde::Serialize;
use serde_json::Value;

/// The resolved configuration in a run folder; there from the start.
pub(crate) const CONFIG: &str = "config.yaml";
/// The result in a run folder; there once the run is finished.
pub(crate) const SUMMARY: &str = "summary.json";
/// One line per log step and evaluation.
const METRICS: &str = "metrics.jsonl";

/// What each model made of each row, in a run folder.
pub(crate) const OUTCOMES: &str = "outcomes.safetensors";
/// The report for people in a run folder.
pub(crate) const REPORT: &str = "report.html";

/// What to do about a run folder that holds an unfinished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Leave it and say so.
    Refuse,
    /// Remove it and begin anew.
    Overwrite,
}

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: fs::File,
    events: EventWriter,
}

impl RunFolder {
    /// Looks whether a run could take `wanted`, before anything costly is done. Changes nothing.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn check(wanted: &Path, unfinished: Unfinished) -> Result<()> {
        free_folder(wanted, unfinished).map(|_| ())
    }

    /// Takes `wanted` for a run: where a finished run lies there, `<wanted>-2` and so on.
    ///
    /// # Errors
    /// If an unfinished run lies there and is not to be overwritten, if something else lies there, or if the folder
    /// cannot be written.
    pub fn create(wanted: &Path, config: &impl Serialize, unfinished: Unfinished) -> Result<Self> {
        let yaml = serde_yaml::to_string(config)?;
        loop {
            let (path, old) = free_folder(wanted, unfinished)?;
            if let Some(old) = old {
                remove(&path, &old)?;
            }
            fs::create_dir_all(&path).with_context(|| format!("cannot make the run folder {}", path.display()))?;
            // The configuration is the claim: of two runs that find the folder free, one makes the file.
            let mut file = match fs::File::create_new(path.join(CONFIG)) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                file => file.with_context(|| format!("cannot write {}", path.join(CONFIG).display()))?,
            };
            file.write_all(yaml.as_bytes()).with_context(|| format!("cannot write {}", path.join(CONFIG).display()))?;
            let metrics = path.join(METRICS);
            let metrics = fs::File::create(&metrics).with_context(|| format!("cannot write {}", metrics.display()))?;
            if path != wanted {
                tracing::info!("{} holds a finished run; this one goes to {}", wanted.display(), path.display());
            }
            let events = EventWriter::create(&path)?;
            return Ok(Self { path, metrics, events });
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line to `metrics.jsonl`, and its numbers to the TensorBoard events at its `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn log(&mut self, line: &Value) -> Result<()> {
        let written = writeln!(self.metrics, "{line}");
        written.with_context(|| format!("cannot write {}", self.path.join(METRICS).display()))?;
        let step = line["step"].as_u64().unwrap_or_default();
        let event = line["event"].as_str().unwrap_or_default();
        for (tag, value) in scalars(event, line) {
            self.events.scalar(step, &tag, value)?;
        }
        Ok(self.events.flush()?)
    }

    /// Writes `summary.json`: the run is finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, summary: &serde_json::Value) -> Result<()> {
        write_whole(&self.path.join(SUMMARY), format!("{summary:#}\n").as_bytes())
    }
}

/// The numbers in a JSON value with the way to each: `step/terms/hard`, `eval/student/accuracy`.
fn scalars(tag: &str, value: &Value) -> Vec<(String, f64)> {
    match value {
        Value::Object(map) => {
            let inner = map.iter().filter(|(key, _)| !["event", "step", "intervals", "parts"].contains(&key.as_str()));
            inner.flat_map(|(key, value)| scalars(&format!("{tag}/{key}"), value)).collect()
        }
        Value::Array(list) => {
            (1..).zip(list).flat_map(|(i, value)| scalars(&format!("{tag}/layer_{i}"), value)).collect()
        }
        other => other.as_f64().map(|number| (tag.to_owned(), number)).into_iter().collect(),
    }
}

/// The folder that a new run may take, and what an unfinished run that is to go left in it.
fn free_folder(wanted: &Path, unfinished: Unfinished) -> Result<(PathBuf, Option<Vec<PathBuf>>)> {
    let name =
        wanted.file_name().with_context(|| format!("output is {}, expected a folder's name", wanted.display()))?;
    for number in 1_u32.. {
        let mut numbered = name.to_owned();
        if number > 1 {
            numbered.push(format!("-{number}"));
        }
        let path = wanted.with_file_name(numbered);
        let context = || format!("cannot use {} as a run folder", path.display());
        let entries: Vec<PathBuf> = match fs::read_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((path, None)),
            entries => entries.with_context(context)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>(),
        }
        .with_context(context)?;
        let is_run = path.join(CONFIG).exists() && entries.iter().all(|entry| is_ours(entry));
        match unfinished {
            _ if entries.is_empty() => return Ok((path, None)),
            _ if !is_run => bail!("{} is not empty and holds no run alone; choose another `output`", path.display()),
            _ if path.join(SUMMARY).exists() => {}
            Unfinished::Overwrite => return Ok((path, Some(entries))),
            Unfinished::Refuse => {
                bail!("{} holds an unfinished run; --overwrite removes it and begins anew", path.display())
            }
        }
    }
    unreachable!("a number is free")
}

/// Whether a run made an entry of its folder.
fn is_ours(entry: &Path) -> bool {
    let name = entry.file_name().unwrap_or_default().to_string_lossy();
    [CONFIG, METRICS, SUMMARY, OUTCOMES, REPORT, "teacher", "student"].contains(&name.as_ref())
        || [".new-", ".old-", "events.out.tfevents."].iter().any(|prefix| name.starts_with(prefix))
}

/// Removes what an unfinished run left, the configuration last: until then the folder is still a run's.
fn remove(folder: &Path, entries: &[PathBuf]) -> Result<()> {
    let config = folder.join(CONFIG);
    for entry in entries.iter().filter(|entry| **entry != config).chain([&config]) {
        let removed = if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) };
        removed.with_context(|| format!("cannot remove {}", entry.display()))?;
    }
    Ok(())
}

/// A file beside its place, readable as any new file is; files for temporary use are for their owner alone.
///
/// # Errors
/// If it cannot be made.
pub fn file_beside(path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Writes a file beside itself and renames it into place.
///
/// # Errors
/// If it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = file_beside(path)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Fills a folder by `fill` beside its place, then puts it there in place of what was there before.
///
/// # Errors
/// If `fill` fails or the folder cannot be put into place; what was there before stays then.
pub fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", path.display());
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).with_context(context)?;
    fill(fresh.path())?;
    // Folders for temporary files are for their owner alone; a model is for whoever may read the run.
    #[cfg(unix)]
    fs::set_permissions(fresh.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(context)?;
    let old = tempfile::Builder::new().prefix(".old-").tempdir_in(parent).with_context(context)?;
    let aside = old.path().join("model");
    match fs::rename(path, &aside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(context),
        _ => {}
    }
    fs::rename(fresh.path(), path)
        .inspect_err(|_| {
            // The error below tells what happened; if even this fails, the old model stays where it is now.
            if fs::rename(&aside, path).is_err() && aside.exists() {
                let _kept = old.keep();
            }
        })
        .with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &Path, unfinished: Unfinished) -> Result<RunFolder> {
        RunFolder::create(path, &"config", unfinished)
    }

    #[test]
    fn a_finished_run_is_kept_and_an_unfinished_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("run");
        let first = create(&wanted, Unfinished::Refuse).unwrap();
        assert_eq!(first.path(), wanted);
        let error = create(&wanted, Unfinished::Refuse).unwrap_err().to_string();
        assert!(error.contains("unfinished") && error.contains("--overwrite"), "{error}");
        first.finish(&serde_json::json!({})).unwrap();
        assert!(create(&wanted, Unfinished::Refuse).unwrap().path().ends_with("run-2"));
        let again = create(&wanted, Unfinished::Overwrite).unwrap();
        assert!(again.path().ends_with("run-2") && wanted.join(SUMMARY).exists());
    }

    #[test]
    fn a_folder_of_other_things_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        for unfinished in [Unfinished::Refuse, Unfinished::Overwrite] {
            let error = create(folder.path(), unfinished).unwrap_err().to_string();
            assert!(error.contains("holds no run"), "{error}");
        }
        // Nor where a file happens to have the name of a run's configuration.
        fs::write(folder.path().join(CONFIG), "mine").unwrap();
        assert!(create(folder.path(), Unfinished::Overwrite).is_err());
        assert!(folder.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_slash_at_the_end_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = PathBuf::from(format!("{}/run/", folder.path().display()));
        create(&wanted, Unfinished::Refuse).unwrap().finish(&serde_json::json!({})).unwrap();
        assert_eq!(create(&wanted, Unfinished::Refuse).unwrap().path(), folder.path().join("run-2"));
    }

    #[test]
    #[cfg(unix)]
    fn a_file_is_readable_like_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), "").unwrap();
        write_whole(&folder.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student");
        replace_folder(&path, |f| Ok(fs::write(f.join("a"), "old")?)).unwrap();
        replace_folder(&path, |f| {
            fs::write(f.join("a"), "half")?;
            bail!("disk full")
        })
        .unwrap_err();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "old");
        replace_folder(&path, |f| Ok(fs::write(f.join("b"), "new")?)).unwrap();
        assert!(path.join("b").exists() && !path.join("a").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }
}
