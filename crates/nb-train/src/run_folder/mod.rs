//! The run folder: who may take it, and what is written into it while a run goes on.

pub(crate) mod atomic_file;
pub mod best;
pub(crate) mod checkpoint;
mod clock;
mod lock;
pub(crate) mod provenance;

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_report::EventWriter;
use serde::Serialize;
use serde_json::Value;

use crate::run_folder::atomic_file::write_file;
use crate::run_folder::checkpoint::CHECKPOINTS;
use crate::run_folder::lock::{LOCK, Lock};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// Leave it and say so.
    Refuse,
    /// Remove it and begin anew.
    Overwrite,
    /// Go on where its newest whole checkpoint stands; begin anew where it has none yet.
    Resume(Accepted),
    /// Go on if it was begun just so, else remove it and begin anew.
    ResumeSame,
}

impl Unfinished {
    /// Whether it goes on, if it can.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Resume(_) | Self::ResumeSame)
    }
}

/// Keys in which a run that goes on may differ from what it was begun with: these and those below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted(pub Vec<String>);

impl Accepted {
    /// Whether `key` is among them.
    pub(crate) fn holds(&self, key: &str) -> bool {
        let is_above = |above: &String| key.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('.'));
        self.0.iter().any(|own| own == key || is_above(own))
    }
}

/// The folder of one run, which no other run can take meanwhile.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Of the process that writes; the others of a run know where its folder is, and what they say goes nowhere.
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    metrics: File,
    events: EventWriter,
    _lock: Lock,
}

/// What lies in a folder that a run might take.
#[derive(Debug)]
enum Holds {
    /// Nothing.
    Nothing,
    /// These entries of a run that did not come to its end.
    Unfinished(Vec<PathBuf>),
}

impl RunFolder {
    /// Looks whether a run could take `wanted`, before anything costly is done. Changes nothing.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn check(wanted: &Path, unfinished: &Unfinished) -> Result<()> {
        let (path, holds) = look(wanted)?;
        Lock::check(&path)?;
        may_take(&path, &holds, unfinished)
    }

    /// Takes `wanted` for a new run: where a finished run lies there, `<wanted>-2` and so on. An unfinished one is removed,
    /// if that is what is to be done about it.
    ///
    /// # Errors
    /// If an unfinished run lies there and is to stay, if another process is at work there, if something else lies there,
    /// or if the folder cannot be written.
    pub fn create(wanted: &Path, config: &impl Serialize, unfinished: &Unfinished) -> Result<Self> {
        let (path, lock, holds) = take(wanted, unfinished)?;
        if let Holds::Unfinished(entries) = holds {
            remove(&entries)?;
        }
        Self::begin(wanted, (path, lock), config)
    }

    /// The unfinished run at `wanted` or beside it.
    ///
    /// # Errors
    /// If something else lies there.
    pub(crate) fn unfinished(wanted: &Path) -> Result<Option<PathBuf>> {
        let (path, holds) = look(wanted)?;
        Ok(matches!(holds, Holds::Unfinished(_)).then_some(path))
    }

    /// Removes what a finished run leaves that was ended before its last moment: checkpoints that nobody goes on from, and its
    /// lock. A process that is still at work there does so itself.
    pub(crate) fn tidy(finished: &Path) {
        if ![CHECKPOINTS, LOCK].iter().any(|left| finished.join(left).exists()) {
            return;
        }
        let Ok(_lock) = Lock::take(finished) else { return };
        let is_left = |entry: &PathBuf| name(entry) == CHECKPOINTS || is_temporary(entry);
        let removed = entries(finished).and_then(|all| remove(&all.into_iter().filter(is_left).collect::<Vec<_>>()));
        if let Err(e) = removed {
            tracing::warn!("{} is finished, and keeps what it needed until then: {e:#}", finished.display());
        }
    }

    /// Fills an empty folder.
    fn begin(wanted: &Path, (path, lock): (PathBuf, Lock), config: &impl Serialize) -> Result<Self> {
        write_config(&path, config)?;
        let metrics = path.join(METRICS);
        let metrics = File::create(&metrics).with_context(|| format!("cannot write {}", metrics.display()))?;
        if path != wanted {
            tracing::info!("{} holds a finished run; this one goes to {}", wanted.display(), path.display());
        }
        let events = EventWriter::create(&path)?;
        Ok(Self { path, writer: Some(Writer { metrics, events, _lock: lock }) })
    }

    /// The folder that another process of the run writes to.
    pub(crate) fn of_another(path: PathBuf) -> Self {
        Self { path, writer: None }
    }

    /// Whether this process writes to it.
    pub(crate) fn is_ours(&self) -> bool {
        self.writer.is_some()
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
        let Some(Writer { metrics, events, .. }) = &mut self.writer else { return Ok(()) };
        // In one write, so that a process that is killed leaves no half of a line.
        let written = metrics.write_all(format!("{line}\n").as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.join(METRICS).display()))?;
        let step = line["step"].as_u64().unwrap_or_default();
        let event = line["event"].as_str().unwrap_or_default();
        for (tag, value) in scalars(event, line) {
            events.scalar(step, &tag, value)?;
        }
        Ok(events.flush()?)
    }

    /// Flushes `metrics.jsonl` to disk and tells its bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn sync(&self) -> Result<u64> {
        let Some(Writer { metrics, .. }) = &self.writer else { return Ok(0) };
        let bytes = metrics.sync_all().and_then(|()| metrics.metadata()).map(|m| m.len());
        bytes.with_context(|| format!("cannot write {}", self.path.join(METRICS).display()))
    }

    /// Writes `summary.json`: the run is finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, summary: &serde_json::Value) -> Result<()> {
        write_file(&self.path.join(SUMMARY), format!("{summary:#}\n").as_bytes())
    }
}

/// The folder of an unfinished run that is to go on, which no other process can take meanwhile.
#[derive(Debug)]
pub(crate) struct Halted {
    path: PathBuf,
    lock: Lock,
}

impl Halted {
    /// Takes the folder of the unfinished run at `wanted` or beside it; none if there is no such run.
    ///
    /// # Errors
    /// If another process is at work there, or if something else lies there.
    pub(crate) fn take(wanted: &Path, unfinished: &Unfinished) -> Result<Option<Self>> {
        if RunFolder::unfinished(wanted)?.is_none() {
            return Ok(None);
        }
        let (path, lock, holds) = take(wanted, unfinished)?;
        Ok(matches!(holds, Holds::Unfinished(_)).then_some(Self { path, lock }))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the run and begins another one in its folder.
    ///
    /// # Errors
    /// If a file cannot be removed or written.
    pub(crate) fn begin_anew(self, config: &impl Serialize) -> Result<RunFolder> {
        let Self { path, lock } = self;
        remove(&entries(&path)?)?;
        RunFolder::begin(&path.clone(), (path, lock), config)
    }

    /// Opens the folder for a run that goes on after `step` updates, when `metrics.jsonl` had this many `bytes`: what was
    /// written later is cut off, what was being written is removed.
    ///
    /// # Errors
    /// If `metrics.jsonl` is shorter than it was, or if a file cannot be written.
    pub(crate) fn open(self, config: &impl Serialize, step: u64, bytes: u64) -> Result<RunFolder> {
        let Self { path, lock } = self;
        let metrics = path.join(METRICS);
        let context = || format!("cannot go on with {}", metrics.display());
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

fn write_config(folder: &Path, config: &impl Serialize) -> Result<()> {
    write_file(&folder.join(CONFIG), serde_yaml::to_string(config)?.as_bytes())
}

/// The folder that a run may take, locked, and what lies in it.
fn take(wanted: &Path, unfinished: &Unfinished) -> Result<(PathBuf, Lock, Holds)> {
    loop {
        let (path, holds) = look(wanted)?;
        Lock::check(&path)?;
        may_take(&path, &holds, unfinished)?;
        fs::create_dir_all(&path).with_context(|| format!("cannot make the run folder {}", path.display()))?;
        let lock = Lock::take(&path)?;
        // Another process may have been here between the look and the lock.
        let (again, holds) = look(wanted)?;
        if again == path {
            may_take(&path, &holds, unfinished)?;
            return Ok((path, lock, holds));
        }
    }
}

fn may_take(path: &Path, holds: &Holds, unfinished: &Unfinished) -> Result<()> {
    if matches!((holds, unfinished), (Holds::Unfinished(_), Unfinished::Refuse)) {
        bail!(
            "{} holds an unfinished run; --resume goes on with it, --overwrite removes it and begins anew",
            path.display()
        );
    }
    Ok(())
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

/// The first of `wanted`, `<wanted>-2` and so on that holds no finished run, and what it holds.
fn look(wanted: &Path) -> Result<(PathBuf, Holds)> {
    let name =
        wanted.file_name().with_context(|| format!("output is {}, expected a folder's name", wanted.display()))?;
    for number in 1_u32.. {
        let mut numbered = name.to_owned();
        if number > 1 {
            numbered.push(format!("-{number}"));
        }
        let path = wanted.with_file_name(numbered);
        let entries = entries(&path)?;
        let is_begun = path.join(CONFIG).exists() || entries.iter().all(|entry| is_temporary(entry));
        let is_run = is_begun && entries.iter().all(|entry| is_ours(entry));
        match () {
            () if entries.is_empty() => return Ok((path, Holds::Nothing)),
            () if !is_run => bail!("{} is not empty and holds no run alone; choose another `output`", path.display()),
            () if path.join(SUMMARY).exists() => {}
            () => return Ok((path, Holds::Unfinished(entries))),
        }
    }
    unreachable!("a number is free")
}

/// What lies in a folder, its lock left out; nothing where there is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot use {} as a run folder", folder.display());
    let entries: Vec<PathBuf> = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>(),
    }
    .with_context(context)?;
    Ok(entries.into_iter().filter(|entry| name(entry) != LOCK).collect())
}

fn name(entry: &Path) -> std::borrow::Cow<'_, str> {
    entry.file_name().unwrap_or_default().to_string_lossy()
}

/// Whether a run made an entry of its folder.
fn is_ours(entry: &Path) -> bool {
    let name = name(entry);
    [CONFIG, METRICS, SUMMARY, OUTCOMES, REPORT, CHECKPOINTS, "teacher", "student"].contains(&name.as_ref())
        || name.starts_with("events.out.tfevents.")
        || is_temporary(entry)
}

fn is_temporary(entry: &Path) -> bool {
    nb_files::is_temporary(&name(entry))
}

/// Removes entries of a run's folder: checkpoints first, so that nobody goes on with half of it, and the configuration last,
/// since until then the folder is still a run's.
fn remove(entries: &[PathBuf]) -> Result<()> {
    let place = |entry: &&PathBuf| match name(entry).as_ref() {
        CHECKPOINTS => 0,
        CONFIG => 2,
        _ => 1,
    };
    let mut entries: Vec<&PathBuf> = entries.iter().collect();
    entries.sort_by_key(place);
    for entry in entries {
        let removed = if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) };
        removed.with_context(|| format!("cannot remove {}", entry.display()))?;
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
            assert!(error.contains("at work"), "{error}");
        }
        drop(first);
        let error = create(&wanted, Unfinished::Refuse).unwrap_err().to_string();
        assert!(["unfinished", "--overwrite", "--resume"].iter().all(|word| error.contains(word)), "{error}");
        create(&wanted, Unfinished::Overwrite).unwrap().finish(&serde_json::json!({})).unwrap();
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
}
