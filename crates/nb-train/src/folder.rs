//! Folders that are whole or not there: the run folder and the model folders in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_data::{Labels, Tokenizer};
use nb_model::{Arena, named_values, write_tensors};
use serde::{Deserialize, Serialize};

/// The top layers' file in a model folder.
pub const HEAD_FILE: &str = "head.safetensors";
/// The description of task, labels and texts in a model folder.
pub const DESCRIPTION_FILE: &str = "newsbert.json";
/// The resolved configuration in a run folder; there from the start.
const CONFIG: &str = "config.yaml";
/// The result in a run folder; there once the run is finished.
const SUMMARY: &str = "summary.json";

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
}

impl RunFolder {
    /// Takes `wanted` for a run: where a finished run lies there, `<wanted>-2` and so on.
    ///
    /// # Errors
    /// If an unfinished run lies there and is not to be overwritten, if something else lies there, or if the folder
    /// cannot be written.
    pub fn create(wanted: &Path, config: &impl Serialize, unfinished: Unfinished) -> Result<Self> {
        let path = free_folder(wanted, unfinished)?;
        if path != wanted {
            tracing::info!("{} holds a finished run; this one goes to {}", wanted.display(), path.display());
        }
        fs::create_dir_all(&path).with_context(|| format!("cannot make the run folder {}", path.display()))?;
        let yaml = serde_yaml::to_string(config)?;
        write_whole(&path.join(CONFIG), yaml.as_bytes())?;
        let metrics = path.join("metrics.jsonl");
        let metrics = fs::File::create(&metrics).with_context(|| format!("cannot write {}", metrics.display()))?;
        Ok(Self { path, metrics })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line to `metrics.jsonl`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn log(&mut self, line: &serde_json::Value) -> Result<()> {
        writeln!(self.metrics, "{line}")
            .with_context(|| format!("cannot write {}", self.path.join("metrics.jsonl").display()))
    }

    /// Writes `summary.json`: the run is finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, summary: &serde_json::Value) -> Result<()> {
        write_whole(&self.path.join(SUMMARY), format!("{summary:#}\n").as_bytes())
    }
}

/// The folder that a new run may take.
fn free_folder(wanted: &Path, unfinished: Unfinished) -> Result<PathBuf> {
    for number in 1_u32.. {
        let path = match number {
            1 => wanted.to_owned(),
            n => PathBuf::from(format!("{}-{n}", wanted.display())),
        };
        if path.join(SUMMARY).exists() {
            continue;
        }
        let is_empty = match fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
            Err(e) => {
                return Err(e).with_context(|| format!("cannot use {} as a run folder", path.display()));
            }
        };
        if is_empty {
            return Ok(path);
        }
        if !path.join(CONFIG).exists() {
            bail!("{} is not empty and holds no run; choose another `output`", path.display());
        }
        match unfinished {
            Unfinished::Refuse => {
                bail!("{} holds an unfinished run; --overwrite removes it and begins anew", path.display())
            }
            Unfinished::Overwrite => {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                return Ok(path);
            }
        }
    }
    unreachable!("a number is free")
}

/// Writes a file beside itself and renames it into place.
///
/// # Errors
/// If it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
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
    let old = tempfile::Builder::new().prefix(".old-").tempdir_in(parent).with_context(context)?;
    match fs::rename(path, old.path().join("model")) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(context),
        _ => {}
    }
    // Folders for temporary files are for their owner alone; a model is for whoever may read the run.
    #[cfg(unix)]
    fs::set_permissions(fresh.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(context)?;
    fs::rename(fresh.keep(), path).with_context(context)
}

/// Writes the top layers' parameters.
///
/// # Errors
/// If the file cannot be written.
pub fn save_head(folder: &Path, arenas: &[&Arena]) -> Result<()> {
    let tensors: Vec<_> = arenas.iter().flat_map(|arena| named_values(arena)).collect();
    Ok(write_tensors(&folder.join(HEAD_FILE), &tensors)?)
}

/// What a model folder says of itself beside its labels and its tokenizer.
#[derive(Debug, Clone)]
pub struct Card {
    /// The task.
    pub task: &'static str,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// Texts per row: 1 or 2.
    pub texts: usize,
    /// The run that made the model.
    pub run: String,
}

/// `newsbert.json` of a model folder.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Description {
    /// The task.
    pub task: String,
    /// Label names by class number.
    pub labels: Vec<String>,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// Texts per row: 1 or 2.
    pub texts: usize,
}

impl Card {
    /// Writes the tokenizer's files, `newsbert.json` and the model card `README.md`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path, labels: &Labels, tokenizer: &Tokenizer) -> Result<()> {
        for file in tokenizer.files() {
            write_whole(&folder.join(file.name), &file.bytes)?;
        }
        let description = Description {
            task: self.task.to_owned(),
            labels: labels.names().to_vec(),
            max_tokens: self.max_tokens,
            texts: self.texts,
        };
        write_whole(&folder.join(DESCRIPTION_FILE), format!("{:#}\n", serde_json::to_value(description)?).as_bytes())?;
        let card = include_str!("model_card.md")
            .replace("{run}", &self.run)
            .replace("{max_tokens}", &self.max_tokens.to_string());
        write_whole(&folder.join("README.md"), card.as_bytes())
    }
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
        assert!(folder.path().join("thesis.tex").exists());
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
