//! Reading a [`RunConfig`] from a YAML file and `--set key=value`.
//!
//! A relative path in the file is relative to the file; in a `--set`, to the current folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::key::KeyPath;
use super::locate::locate;
use super::overrides::{Override, find};
use super::positions::positions;
use super::recipe;
use super::run::RunConfig;
use super::student_init::StudentInit;

/// Keys whose values are paths, or lists of paths.
const PATHS: [&str; 10] = [
    "output",
    "data.train",
    "data.dev",
    "data.test",
    "data.unlabelled",
    "data.eval",
    "data.cache",
    "teacher.random.tokenizer",
    "teacher.checkpoint",
    "teacher.trained",
];
/// This key's value is a path unless it is one of [`StudentInit::WORDS`].
const INIT: &str = "student.init";

/// Reads the configuration of a run and applies overrides in order; the last one wins.
///
/// # Errors
/// If the file cannot be read, or if a key or value is not known: with file, line and column, or with the `--set` key.
pub fn read(path: &Path, overrides: &[Override]) -> Result<RunConfig> {
    let mut config: RunConfig = load(path, overrides, anchor_paths, recipe::complete)?;
    config.name = config.name.or_else(|| stem(path));
    Ok(config)
}

/// Reads a YAML file strictly and applies overrides in order; the last one wins. `anchor` makes the relative paths of a
/// tree absolute, given their folder: that of the file, or for an override the current folder. `complete` fills in keys that
/// are not given.
///
/// # Errors
/// If the file cannot be read, or if a key or value is not known: with file, line and column, or with the `--set` key.
pub(crate) fn load<T: DeserializeOwned>(
    path: &Path,
    overrides: &[Override],
    anchor: impl Fn(&mut Value, &Path),
    complete: impl FnOnce(&mut Value),
) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let mut tree = parse(text.strip_prefix('\u{feff}').unwrap_or(&text), path)?;
    // Absolute, so that the resolved configuration in the run folder means the same files.
    anchor(&mut tree, &folder(path)?);
    let here = std::env::current_dir().context("cannot determine the current folder")?;
    for set in overrides {
        set.apply(&mut tree, |value| anchor(value, &here)).with_context(|| format!("--set {}", set.key))?;
    }
    complete(&mut tree);
    typed(tree).map_err(|error| locate(error, path, overrides))
}

/// Parses a text that holds a mapping.
fn parse(text: &str, path: &Path) -> Result<Value> {
    let tree: Value = serde_yaml::from_str(text).map_err(|error| match positions(text).repeated {
        Some((key, position)) => anyhow!("{}:{position}: {key} is given twice", path.display()),
        None => Error::from(error).context(path.display().to_string()),
    })?;
    if !tree.is_mapping() {
        bail!("{}: found {}, expected keys with their values", path.display(), kind(&tree));
    }
    Ok(tree)
}

/// Converts a tree into a `T`. The context of an error is the key of the value at fault, if it has one.
pub(super) fn typed<T: DeserializeOwned>(tree: Value) -> Result<T> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let key = error.path().to_string();
        let is_whole_tree = error.path().iter().next().is_none();
        let error = Error::from(error.into_inner());
        if is_whole_tree { error } else { error.context(KeyPath::from(key)) }
    })
}

/// Returns the folder that relative paths in a file are relative to.
///
/// # Errors
/// If the current folder cannot be determined.
pub(crate) fn folder(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    Ok(absolute.parent().unwrap_or(&absolute).to_owned())
}

/// Returns a file's name without its extension: the default name of a run.
pub(crate) fn stem(path: &Path) -> Option<String> {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

fn is_path(key: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    (PATHS.contains(&key) || key == INIT && !StudentInit::WORDS.contains(&text)) && !text.starts_with("hf:")
}

/// Makes relative paths absolute; they are relative to `folder`.
pub(crate) fn anchor_paths(tree: &mut Value, folder: &Path) {
    for key in PATHS.into_iter().chain([INIT]) {
        let found = find(tree, key);
        let paths = match found {
            Some(Value::Sequence(several)) => several.iter_mut().collect(),
            one => Vec::from_iter(one),
        };
        for path in paths.into_iter().filter(|path| is_path(key, path)) {
            let absolute = folder.join(path.as_str().unwrap_or_default());
            *path = Value::String(absolute.to_string_lossy().into_owned());
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Sequence(_) => "a list",
        _ => "a single value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "task: topic\ndata: {format: mind, train: news.tsv}\nteacher: {checkpoint: model}\n";

    fn read_text(text: &str, sets: &[&str]) -> Result<RunConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my-run.yaml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<Override> = sets.iter().map(|s| s.parse().unwrap()).collect();
        read(&path, &sets).map_err(|e| format!("{e:#}"))
    }

    #[track_caller]
    fn refused(text: &str, sets: &[&str], says: &[&str]) {
        let error = read_text(text, sets).unwrap_err();
        assert!(says.iter().all(|part| error.contains(part)), "{error}");
    }

    #[test]
    fn a_file_names_the_run_and_anchors_its_paths() {
        let config = read_text(GOOD, &[]).unwrap();
        assert_eq!(config.name.as_deref(), Some("my-run"));
        assert!(config.data.train.is_absolute() && config.data.train.ends_with("news.tsv"));
        assert!(config.teacher.checkpoint.unwrap().ends_with("/model"));
    }

    #[test]
    fn the_last_override_wins_and_counts_from_the_callers_folder() {
        let sets = ["train.lr=1e-3", "train.lr=5e-4", "data.dev=d.tsv", "teacher={checkpoint: hf:a/b}"];
        let config = read_text(GOOD, &[&sets[..], &["student={layers: 1, init: s}"]].concat()).unwrap();
        assert_eq!(config.train.lr, 5e-4);
        assert_eq!(config.data.dev.unwrap(), std::env::current_dir().unwrap().join("d.tsv"));
        assert_eq!(config.teacher.checkpoint.as_deref(), Some("hf:a/b"));
        let init = std::env::current_dir().unwrap().join("s").display().to_string();
        assert_eq!(config.student.init, super::super::StudentInit::Checkpoint(init));
    }

    #[test]
    fn errors_name_line_and_column() {
        refused(&format!("{GOOD}sed: 1\n"), &[], &["my-run.yaml:4:1", "unknown field `sed`", "expected one of"]);
        refused(&format!("{GOOD}train: {{lr: fast}}\n"), &[], &["my-run.yaml:4:", "train.lr", "expected f64"]);
        refused(&format!("{GOOD}device: gpu\n"), &[], &["my-run.yaml:4:", "`auto`, `cpu`, `cuda` or `cuda:N`"]);
        refused(&format!("{GOOD}sed: 1\n"), &["train.lr=1e-3"], &["my-run.yaml:4:1", "unknown field `sed`"]);
        refused("data: [", &[], &["my-run.yaml", "line 2"]);
        refused("", &[], &["found nothing"]);
        refused(&format!("{GOOD}data: {{format: csv}}\n"), &[], &["my-run.yaml:4:1: data is given twice"]);
        refused(&format!("{GOOD}name: 5\n"), &["seed=1"], &["my-run.yaml:4:1: name: invalid type"]);
        refused("task:\n", &[], &["my-run.yaml:1:1: task: invalid type"]);
        refused("task: topic\n", &[], &["missing field `data`"]);
    }

    #[test]
    fn errors_of_an_override_name_its_key() {
        refused(GOOD, &["train.lr=fast"], &["--set train.lr", "expected f64"]);
        refused(GOOD, &["train.speed=1"], &["--set train.speed", "unknown field `speed`"]);
        refused(GOOD, &["task.name=1"], &["--set task.name", "`task` is a value"]);
        assert!("lr".parse::<Override>().is_err() && "a..b=1".parse::<Override>().is_err());
    }
}
