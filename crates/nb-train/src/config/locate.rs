//! Locating a problem in the configuration: the line of the file, or the `--set` that gave the value.
//!
//! Checks know keys, not lines. Their errors carry the keys ([`ConfigError`], or a [`KeyPath`] as context). The lines are
//! looked up only when there is an error.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Error;
use serde_yaml::Value;

use super::error::ConfigError;
use super::key::KeyPath;
use super::overrides::Override;
use super::positions::{Position, positions};

/// Puts the location of a problem in front of its message: `my.yaml:12:3` if the file has one of its keys there,
/// `--set method.beta` if an override set it.
///
/// The first key of the error that was given counts. If none was, the location is that of the first key's nearest ancestor
/// that was given. The location of an error without keys is the file.
pub(crate) fn locate(error: Error, path: &Path, overrides: &[Override]) -> Error {
    locate_below(error, path, overrides, &[""])
}

/// Does the same as [`locate`] for a file that has the keys of a run below others, `prefixes`: in a comparison, for example
/// `["methods[1].set", "run"]`. The first prefix under which the key was given counts.
pub(crate) fn locate_below(error: Error, path: &Path, overrides: &[Override], prefixes: &[&str]) -> Error {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let given = Given { positions: positions(&text).keys, overrides };
    let location = given.location(&keys(&error), prefixes);
    error.context(match location {
        Some(Location::File(position)) => format!("{}:{position}", path.display()),
        Some(Location::Override(key)) => format!("--set {key}"),
        None => path.display().to_string(),
    })
}

/// Returns the keys that an error carries, in the order of its message.
fn keys(error: &Error) -> Vec<&KeyPath> {
    let context = error.downcast_ref::<KeyPath>();
    let value = error.downcast_ref::<ConfigError>().map(ConfigError::keys);
    context.into_iter().chain(value.unwrap_or_default()).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    File(Position),
    Override(KeyPath),
}

/// The keys that the user gave, in the file and in overrides.
struct Given<'a> {
    positions: BTreeMap<KeyPath, Position>,
    overrides: &'a [Override],
}

impl Given<'_> {
    fn location(&self, keys: &[&KeyPath], prefixes: &[&str]) -> Option<Location> {
        let find = |key: &KeyPath| prefixes.iter().find_map(|prefix| self.find(&key.below(prefix)));
        let given = keys.iter().find_map(|key| find(key));
        given.or_else(|| keys.first()?.ancestors().find_map(|key| find(&key)))
    }

    /// Returns the location of a key: the last override of the key, of an ancestor or of a descendant; else its position in
    /// the file.
    fn find(&self, key: &KeyPath) -> Option<Location> {
        let concerns = |set: &&Override| set.key.rest_below(key).or(key.rest_below(&set.key)).is_some();
        match self.overrides.iter().rev().find(concerns) {
            Some(set) => match key.rest_below(&set.key) {
                Some(rest) if !contains(&set.value, rest) => None, // the override replaced an ancestor, without this key
                _ => Some(Location::Override(set.key.clone())),
            },
            None => self.positions.get(key).copied().map(Location::File),
        }
    }
}

/// Returns whether a value contains the key `rest`, such as `.a.b[1]`. The keys of a mapping may contain dots.
fn contains(value: &Value, rest: &str) -> bool {
    match value {
        _ if rest.is_empty() => true,
        Value::Mapping(mapping) => mapping.iter().any(|(key, value)| {
            let rest = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(key.as_str()?));
            rest.is_some_and(|rest| contains(value, rest))
        }),
        Value::Sequence(items) => {
            let item = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            item.is_some_and(|(i, rest)| {
                i.parse().is_ok_and(|i: usize| items.get(i).is_some_and(|v| contains(v, rest)))
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "\
# a comment
task: topic
data:
  format: csv
  columns:
    label: 0
    text: [1,
           2]
method:
  stages:
    - share: 1
      weights: {hidden: 1}
    - share: 2
      weights:
        soft: -1
";
    const FLOW: &str = "task: topic\nmethod: {name: kd,\n  beta: 0.1, weights: {soft: 1,\n    hard: 2}, stages: [{share: 1},\n{share: 2}]}\n";

    /// Fails unless the error is located at `expected`, followed by its own message.
    #[track_caller]
    fn assert_located(text: &str, sets: &[&str], error: impl Into<Error>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.yaml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
        let error = error.into();
        let message = format!("{error:#}");
        let found = format!("{:#}", locate(error, &path, &sets));
        let found = found.replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(found, format!("{expected}: {message}"));
    }

    fn wrong(key: &str) -> ConfigError {
        ConfigError::expected(key, "wrong", "something else")
    }

    #[test]
    fn a_key_in_block_style_is_located() {
        assert_located(BLOCK, &[], wrong("data.format"), "my.yaml:4:3");
        assert_located(BLOCK, &[], wrong("data.columns.text"), "my.yaml:7:5");
        assert_located(BLOCK, &[], wrong("method.stages[1].share"), "my.yaml:13:7");
        assert_located(BLOCK, &[], wrong("method.stages[1].weights.soft"), "my.yaml:15:9");
        let windows = format!("\u{feff}{}", BLOCK.replace('\n', "\r\n"));
        assert_located(&windows, &[], wrong("method.stages[1].weights.soft"), "my.yaml:15:9");
    }

    #[test]
    fn a_key_in_flow_style_is_located() {
        assert_located(FLOW, &[], wrong("method.name"), "my.yaml:2:10");
        assert_located(FLOW, &[], wrong("method.beta"), "my.yaml:3:3");
        assert_located(FLOW, &[], wrong("method.weights.hard"), "my.yaml:4:5");
        assert_located(FLOW, &[], wrong("method.stages[1].share"), "my.yaml:5:2");
        assert_located(FLOW, &[], wrong("method.stages[1].weights"), "my.yaml:5:1");
    }

    #[test]
    fn a_key_that_was_not_given_is_located_at_its_nearest_ancestor() {
        assert_located(BLOCK, &[], wrong("data.columns.text[7]"), "my.yaml:7:5");
        assert_located(
            BLOCK,
            &[],
            ConfigError::conflict("data.train", "/a/b.csv", "there is no such file"),
            "my.yaml:3:1",
        );
        assert_located(BLOCK, &[], wrong("train.lr"), "my.yaml");
        assert_located(BLOCK, &[], Error::msg("an error without a key"), "my.yaml");
        assert_located("data: [", &[], wrong("data.train"), "my.yaml:1:1");
        assert_located(BLOCK, &[], wrong("data.csv"), "my.yaml:3:1");
    }

    #[test]
    fn the_first_key_that_was_given_counts() {
        let text = "task: topic\nmethod:\n  name: newsbert\n  teacher: frozen\n";
        let share = ConfigError::conflict("method.share", "[dense]", "method.teacher is frozen").and("method.teacher");
        assert_located(text, &[], share, "my.yaml:4:3");
        let advice = || ConfigError::expected("student.layers", 9, "1 to 6; or method.teacher: none");
        assert_located(text, &[], advice(), "my.yaml");
        assert_located(text, &["student.layers=9"], advice(), "--set student.layers");
    }

    #[test]
    fn the_last_override_takes_precedence_over_the_file() {
        let sets = ["method.beta=2", "method.beta=3", "train.lr=1"];
        assert_located(FLOW, &sets, wrong("method.beta"), "--set method.beta");
        assert_located(FLOW, &["method={name: kd, beta: 3}"], wrong("method.beta"), "--set method");
        assert_located(FLOW, &["method={name: kd}"], wrong("method.beta"), "--set method");
        assert_located(
            FLOW,
            &["method.temperature.from=0"],
            wrong("method.temperature"),
            "--set method.temperature.from",
        );
        assert_located(FLOW, &["method.betas=0"], wrong("method.beta"), "my.yaml:3:3");
        assert_located(
            FLOW,
            &["method.stages=[{share: 1}, {share: 0}]"],
            wrong("method.stages[1].share"),
            "--set method.stages",
        );
    }

    #[test]
    fn a_comparisons_keys_are_below_prefixes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.yaml");
        let text = "run:\n  train: {lr: 1}\nmethods:\n- method: kd\n- method: newsbert\n  set:\n    method.beta: 2\n";
        std::fs::write(&path, text).unwrap();
        let place = |key: &str, sets: &[&str]| {
            let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
            let found = locate_below(wrong(key).into(), &path, &sets, &["methods[1].set", "run"]).to_string();
            found.rsplit('/').next().unwrap().to_owned()
        };
        assert_eq!(place("method.beta", &[]), "many.yaml:7:5");
        assert_eq!(place("train.lr", &[]), "many.yaml:2:11");
        assert_eq!(place("train.warmup", &[]), "many.yaml:2:3");
        assert_eq!(place("train.lr", &["run.train.lr=3"]), "--set run.train.lr");
        assert_eq!(place("train.lr", &["methods=[{}, {set: {train.lr: -1}}]"]), "--set methods");
        assert_eq!(place("student.layers", &[]), "many.yaml");
    }

    #[test]
    fn a_top_level_key_is_located() {
        let text = "task: topic\nname: a/b\ndevice: cuda:9\nteacher: {}\n";
        assert_located(text, &[], wrong("name"), "my.yaml:2:1");
        assert_located(
            text,
            &[],
            ConfigError::conflict("device", "cuda:9", "libtorch finds 0 CUDA devices"),
            "my.yaml:3:1",
        );
        assert_located(text, &[], wrong("teacher"), "my.yaml:4:1");
        assert_located(text, &[], Error::msg("the name of the task"), "my.yaml");
    }

    #[test]
    fn keys_are_found_between_other_contexts() {
        let text = "task: topic\nteacher:\n  checkpoint: nowhere\n";
        let no_file = || Error::msg("nowhere/config.json: no such file");
        assert_located(text, &[], no_file().context(KeyPath::from("teacher.checkpoint")), "my.yaml:3:3");
        assert_located(
            text,
            &[],
            no_file().context(KeyPath::from("teacher.checkpoint")).context("kd-1l-s0"),
            "my.yaml:3:3",
        );
        assert_located(
            text,
            &[],
            Error::from(wrong("teacher.random")).context("cannot read the teacher"),
            "my.yaml:2:1",
        );
    }
}
