//! Reading a YAML file and `--set key=value` into a [`RunConfig`].
//!
//! Relative paths count from the file for what the file says, and from the caller's folder for `--set`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::key::KeyPath;
use super::run::RunConfig;

/// Keys whose values are paths, or lists of paths.
const PATHS: [&str; 9] = [
    "output",
    "data.train",
    "data.dev",
    "data.test",
    "data.unlabelled",
    "data.cache",
    "teacher.random.tokenizer",
    "teacher.checkpoint",
    "teacher.trained",
];
/// The key whose value is a path unless it is one of [`INIT_WORDS`].
const INIT: &str = "student.init";
const INIT_WORDS: [&str; 3] = ["first", "spaced", "random"];

/// One `--set key=value`: a dotted key and a YAML value.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    pub(super) key: KeyPath,
    pub(super) value: Value,
}

impl Override {
    /// Sets the key in a tree, after `anchor` has made the paths of the value absolute.
    ///
    /// # Errors
    /// If a part of the key before the last is a value.
    fn apply(&self, tree: &mut Value, anchor: impl FnOnce(&mut Value)) -> Result<()> {
        set_anchored(tree, &self.key, self.value.clone(), anchor)
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: expected key=value"))?;
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(format!("`{key}`: expected a key such as train.lr"));
        }
        let value = serde_yaml::from_str(value).map_err(|e| format!("`{value}` is not a YAML value: {e}"))?;
        Ok(Self { key: key.into(), value })
    }
}

/// Reads the configuration of a run and applies overrides in order; the last one wins.
///
/// # Errors
/// If the file cannot be read, or if a key or value is not known: with file, line and column, or with the `--set` key.
pub fn read(path: &Path, overrides: &[Override]) -> Result<RunConfig> {
    let mut config: RunConfig = load(path, overrides, anchor_paths)?;
    config.name = config.name.or_else(|| stem(path));
    Ok(config)
}

/// Reads a YAML file strictly and applies overrides in order; the last one wins. `anchor` makes the relative paths of a
/// tree absolute: they count from the file's folder in the file, and from the caller's in an override.
///
/// # Errors
/// If the file cannot be read, or if a key or value is not known: with file, line and column, or with the `--set` key.
pub(crate) fn load<T: DeserializeOwned>(
    path: &Path,
    overrides: &[Override],
    anchor: impl Fn(&mut Value, &Path),
) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let mut tree = parse::<T>(text.strip_prefix('\u{feff}').unwrap_or(&text), path, overrides)?;
    // Absolute, so that the resolved configuration in the run folder means the same files.
    anchor(&mut tree, &folder(path)?);
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    for set in overrides {
        set.apply(&mut tree, |value| anchor(value, &here)).with_context(|| format!("--set {}", set.key))?;
    }
    serde_yaml::from_value(tree).map_err(|e| {
        let sets: Vec<String> = overrides.iter().map(|set| format!(" --set {}", set.key)).collect();
        let with = if sets.is_empty() { String::new() } else { format!(" with{}", sets.join(",")) };
        anyhow!("{}{with}: {e}", path.display())
    })
}

/// The tree of a file that holds a `T`; keys that it lacks may still come from overrides, if there are any.
fn parse<T: DeserializeOwned>(text: &str, path: &Path, overrides: &[Override]) -> Result<Value> {
    let tree: Value = serde_yaml::from_str(text).with_context(|| path.display().to_string())?;
    if !tree.is_mapping() {
        bail!("{}: found {}, expected keys with their values", path.display(), kind(&tree));
    }
    // The file alone first: its errors carry a line and a column.
    match serde_yaml::from_str::<T>(text) {
        Err(e) if overrides.is_empty() || !e.to_string().contains("missing field") => Err(located(path, &e)),
        _ => Ok(tree),
    }
}

/// The folder that relative paths in a file count from.
///
/// # Errors
/// If the current folder cannot be told.
pub(crate) fn folder(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    Ok(absolute.parent().unwrap_or(&absolute).to_owned())
}

/// The name of a file without its ending, which names what has no name.
pub(crate) fn stem(path: &Path) -> Option<String> {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

/// serde_yaml ends its messages with `at line L column C`; the file's name comes before them.
fn located(path: &Path, error: &serde_yaml::Error) -> anyhow::Error {
    match error.location() {
        Some(at) => {
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
            anyhow::anyhow!("{}:{}:{}: {text}", path.display(), at.line(), at.column())
        }
        None => anyhow::anyhow!("{}: {error}", path.display()),
    }
}

fn is_path(key: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    (PATHS.contains(&key) || key == INIT && !INIT_WORDS.contains(&text)) && !text.starts_with("hf:")
}

/// Makes relative paths count from `folder`.
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

/// The value of a dotted key.
pub(super) fn find<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(tree, |at, part| at.get_mut(part))
}

/// Sets a dotted key, after `anchor` has made the paths of the value absolute.
///
/// # Errors
/// If a part of the key before the last is a value.
pub(super) fn set_anchored(
    tree: &mut Value,
    key: &KeyPath,
    value: Value,
    anchor: impl FnOnce(&mut Value),
) -> Result<()> {
    // A tree with this key alone tells `anchor` which key the value has.
    let mut branch = Value::Null;
    set(&mut branch, key, value)?;
    anchor(&mut branch);
    let value = find(&mut branch, key.as_str()).map(std::mem::take).unwrap_or_default();
    set(tree, key, value)
}

/// Sets a dotted key and makes the mappings around it where there are none.
fn set(tree: &mut Value, key: &KeyPath, value: Value) -> Result<()> {
    let mut at = tree;
    let mut walked = String::new();
    for part in key.as_str().split('.') {
        if at.is_null() {
            *at = Value::Mapping(Mapping::new());
        }
        let Some(map) = at.as_mapping_mut() else { bail!("`{walked}` is a value, so it has no key `{part}`") };
        at = map.entry(Value::String(part.to_owned())).or_insert(Value::Null);
        walked = if walked.is_empty() { part.to_owned() } else { format!("{walked}.{part}") };
    }
    *at = value;
    Ok(())
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
