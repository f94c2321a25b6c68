//! From a YAML file and `--set key=value` to a [`RunConfig`].
//!
//! Relative paths count from the file for what the file says, and from the caller's folder for `--set`.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_yaml::{Mapping, Value};

use super::RunConfig;
use super::choices::anchor;

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
/// The key whose value is a path unless it is one of these words.
const INIT: (&str, [&str; 3]) = ("student.init", ["first", "spaced", "random"]);

/// One `--set key=value`: a dotted key and a YAML value.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    pub(super) key: String,
    pub(super) value: Value,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: expected key=value"))?;
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(format!("`{key}`: expected a key such as train.lr"));
        }
        let value = serde_yaml::from_str(value).map_err(|e| format!("`{value}` is no YAML value: {e}"))?;
        Ok(Self { key: key.to_owned(), value })
    }
}

/// Reads a configuration and applies overrides in order; the last one wins.
///
/// # Errors
/// If the file cannot be read, or if a key or value is not known: with file, line and column, or with the `--set` key.
pub fn read(path: &Path, overrides: &[Override]) -> Result<RunConfig> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut tree: Value = serde_yaml::from_str(text).with_context(|| path.display().to_string())?;
    if !tree.is_mapping() {
        bail!("{}: expected keys such as `task:` and `data:`, found {}", path.display(), kind(&tree));
    }
    // The file alone first: its errors carry a line and a column. What it lacks an override may still bring.
    if let Err(e) = serde_yaml::from_str::<RunConfig>(text)
        && (overrides.is_empty() || !e.to_string().contains("missing field"))
    {
        return Err(located(path, &e));
    }
    // Absolute, so that the resolved configuration in the run folder means the same files.
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    anchor_paths(&mut tree, absolute.parent().unwrap_or(&absolute));
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    for Override { key, value } in overrides {
        let mut own = Value::Null;
        set(&mut own, key, value.clone()).with_context(|| format!("--set {key}"))?;
        anchor_paths(&mut own, &here);
        let value = find(&mut own, key).map(std::mem::take).unwrap_or_default();
        set(&mut tree, key, value).with_context(|| format!("--set {key}"))?;
    }
    let mut config: RunConfig = serde_yaml::from_value(tree).map_err(|e| {
        let keys: Vec<_> = overrides.iter().map(|o| o.key.as_str()).collect();
        anyhow::anyhow!("{} with --set {}: {e}", path.display(), keys.join(", --set "))
    })?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
    config.name = config.name.or(stem);
    Ok(config)
}

/// Reads a file of another kind than a run's and applies overrides in order, the last one wins; gives the folder too that
/// relative paths in the file count from. Paths are left as they are but for those of overrides: `output`, and below
/// `run`.
///
/// # Errors
/// As [`read`].
pub fn overridden<T: serde::de::DeserializeOwned>(
    path: &Path,
    overrides: &[Override],
) -> Result<(T, std::path::PathBuf)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut tree: Value = serde_yaml::from_str(text).with_context(|| path.display().to_string())?;
    if let Err(e) = serde_yaml::from_str::<T>(text)
        && (overrides.is_empty() || !e.to_string().contains("missing field"))
    {
        return Err(located(path, &e));
    }
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    for Override { key, value } in overrides {
        let mut own = Value::Null;
        set(&mut own, key, value.clone()).with_context(|| format!("--set {key}"))?;
        anchor_paths(&mut own, &here);
        if let Some(run) = own.get_mut("run") {
            anchor_paths(run, &here);
        }
        let value = find(&mut own, key).map(std::mem::take).unwrap_or_default();
        set(&mut tree, key, value).with_context(|| format!("--set {key}"))?;
    }
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    let config = serde_yaml::from_value(tree).with_context(|| path.display().to_string())?;
    Ok((config, absolute.parent().unwrap_or(&absolute).to_owned()))
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
    (PATHS.contains(&key) || key == INIT.0 && !INIT.1.contains(&text)) && !text.starts_with("hf:")
}

/// Makes relative paths count from `folder`.
pub(super) fn anchor_paths(tree: &mut Value, folder: &Path) {
    for key in PATHS.into_iter().chain([INIT.0]) {
        let found = find(tree, key);
        let paths = match found {
            Some(Value::Sequence(several)) => several.iter_mut().collect(),
            one => Vec::from_iter(one),
        };
        for path in paths.into_iter().filter(|path| is_path(key, path)) {
            *path = Value::String(anchor(folder, path.as_str().unwrap_or_default()));
        }
    }
}

/// The value of a dotted key.
pub(super) fn find<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(tree, |at, part| at.get_mut(part))
}

/// Sets a dotted key, making mappings on the way.
pub(super) fn set(tree: &mut Value, key: &str, value: Value) -> Result<()> {
    let mut at = tree;
    let mut walked = String::new();
    for part in key.split('.') {
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
