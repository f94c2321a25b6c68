//! The place of a problem in the configuration: the line of the file, or the `--set` that brought the value.
//!
//! Checks know keys, not lines. Their errors carry the keys ([`ConfigError`], or a [`KeyPath`] as context), and only once
//! there is such an error are the lines looked up: the reader of values (serde_yaml) gives no positions, so a parser that
//! does reads the file again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Error;
use saphyr_parser::{Event, Parser};
use serde_yaml::Value;

use super::error::ConfigError;
use super::key::KeyPath;
use super::read::Override;

/// Adds the place of a problem in front of it: `my.yaml:12` if the file has one of its keys there, `--set method.beta` if
/// an override set it. The first of its keys that somebody typed counts; if nobody typed any, the nearest key above the
/// first one. The place of an error without keys is the file.
pub fn point(problem: Error, path: &Path, overrides: &[Override]) -> Error {
    point_within(problem, path, overrides, &[""])
}

/// Does the same as [`point`] for a file that has the keys of a run below others. In a comparison these are, say,
/// `["methods[1].set", "run"]`; the first of them that has the key counts.
pub fn point_within(problem: Error, path: &Path, overrides: &[Override], within: &[&str]) -> Error {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let typed = Typed { lines: lines(&text), overrides };
    let place = typed.place(&keys(&problem), within);
    problem.context(match place {
        Some(Place::Line(line)) => format!("{}:{line}", path.display()),
        Some(Place::Set(key)) => format!("--set {key}"),
        None => path.display().to_string(),
    })
}

/// The keys that an error carries, in the order of its message.
fn keys(problem: &Error) -> Vec<&KeyPath> {
    let context = problem.downcast_ref::<KeyPath>();
    let value = problem.downcast_ref::<ConfigError>().map(ConfigError::keys);
    context.into_iter().chain(value.unwrap_or_default()).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Line(usize),
    Set(KeyPath),
}

/// Everything that somebody typed.
struct Typed<'a> {
    lines: BTreeMap<KeyPath, usize>,
    overrides: &'a [Override],
}

impl Typed<'_> {
    fn place(&self, keys: &[&KeyPath], within: &[&str]) -> Option<Place> {
        let find = |key: &KeyPath| within.iter().find_map(|prefix| self.find(&key.within(prefix)));
        let typed = keys.iter().find_map(|key| find(key));
        typed.or_else(|| keys.first()?.ancestors().find_map(|key| find(&key)))
    }

    /// The place where a key was typed: the last override that has to do with it, else the line of the file.
    fn find(&self, key: &KeyPath) -> Option<Place> {
        let concerns = |set: &&Override| set.key.rest_below(key).or(key.rest_below(&set.key)).is_some();
        match self.overrides.iter().rev().find(concerns) {
            Some(set) => match key.rest_below(&set.key) {
                Some(rest) if !holds(&set.value, rest) => None, // it replaced the key by something without it
                _ => Some(Place::Set(set.key.clone())),
            },
            None => self.lines.get(key).copied().map(Place::Line),
        }
    }
}

/// Returns whether a value has the key `.a.b[1]` in it.
fn holds(value: &Value, key: &str) -> bool {
    let mut parts = key.split(['.', '[', ']']).filter(|part| !part.is_empty());
    let inner = parts.try_fold(value, |at, part| match part.parse::<usize>() {
        Ok(index) if at.is_sequence() => at.get(index),
        _ => at.get(part),
    });
    inner.is_some()
}

/// A mapping or a list around a value.
enum Around {
    Mapping { path: String, key: Option<String> },
    List { path: String, next: usize },
}

/// The line of every key and list item: `method.stages[1].weights.soft`. In a file that is no YAML, those before the
/// fault.
fn lines(text: &str) -> BTreeMap<KeyPath, usize> {
    let mut lines = BTreeMap::new();
    let mut around: Vec<Around> = Vec::new();
    for (event, span) in Parser::new_from_str(text.trim_start_matches('\u{feff}')).map_while(Result::ok) {
        let line = span.start.line();
        match event {
            Event::MappingEnd | Event::SequenceEnd => drop(around.pop()),
            Event::DocumentEnd => break,
            Event::Scalar(..) | Event::Alias(_) | Event::MappingStart(..) | Event::SequenceStart(..) => {
                let scalar = if let Event::Scalar(text, ..) = &event { text } else { "" };
                let path = match around.last_mut() {
                    None => String::new(),
                    Some(Around::List { path, next }) => {
                        let path = format!("{path}[{next}]");
                        *next += 1;
                        lines.insert(path.clone().into(), line);
                        path
                    }
                    Some(Around::Mapping { path, key }) => match key.take() {
                        Some(key) => key,
                        None => {
                            let own = if path.is_empty() { scalar.to_owned() } else { format!("{path}.{scalar}") };
                            lines.insert(own.clone().into(), line);
                            *key = Some(own.clone());
                            own
                        }
                    },
                };
                match event {
                    Event::MappingStart(..) => around.push(Around::Mapping { path, key: None }),
                    Event::SequenceStart(..) => around.push(Around::List { path, next: 0 }),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    lines
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

    /// Fails unless an error with these keys lies at `expected`, and the error's own message follows.
    #[track_caller]
    fn lies(text: &str, sets: &[&str], error: impl Into<Error>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.yaml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
        let error = error.into();
        let message = format!("{error:#}");
        let found = format!("{:#}", point(error, &path, &sets));
        let found = found.replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(found, format!("{expected}: {message}"));
    }

    fn wrong(key: &str) -> ConfigError {
        ConfigError::expected(key, "wrong", "something else")
    }

    #[test]
    fn a_key_in_block_style_has_its_line() {
        lies(BLOCK, &[], wrong("data.format"), "my.yaml:4");
        lies(BLOCK, &[], wrong("data.columns.text"), "my.yaml:7");
        lies(BLOCK, &[], wrong("method.stages[1].share"), "my.yaml:13");
        lies(BLOCK, &[], wrong("method.stages[1].weights.soft"), "my.yaml:15");
        let windows = format!("\u{feff}{}", BLOCK.replace('\n', "\r\n"));
        lies(&windows, &[], wrong("method.stages[1].weights.soft"), "my.yaml:15");
    }

    #[test]
    fn a_key_in_flow_style_has_its_line() {
        lies(FLOW, &[], wrong("method.name"), "my.yaml:2");
        lies(FLOW, &[], wrong("method.beta"), "my.yaml:3");
        lies(FLOW, &[], wrong("method.weights.hard"), "my.yaml:4");
        lies(FLOW, &[], wrong("method.stages[1].share"), "my.yaml:5");
        lies(FLOW, &[], wrong("method.stages[1].weights"), "my.yaml:5");
    }

    #[test]
    fn of_a_key_that_nobody_typed_the_nearest_one_above_counts() {
        lies(BLOCK, &[], wrong("data.columns.text[7]"), "my.yaml:7");
        lies(BLOCK, &[], ConfigError::conflict("data.train", "/a/b.csv", "there is no such file"), "my.yaml:3");
        lies(BLOCK, &[], wrong("train.lr"), "my.yaml");
        lies(BLOCK, &[], Error::msg("an error without a key"), "my.yaml");
        lies("data: [", &[], wrong("data.train"), "my.yaml:1");
        lies(BLOCK, &[], wrong("data.csv"), "my.yaml:3");
    }

    #[test]
    fn of_several_keys_the_first_that_was_typed_counts() {
        let text = "task: topic\nmethod:\n  name: newsbert\n  teacher: frozen\n";
        let share = ConfigError::conflict("method.share", "[dense]", "method.teacher is frozen").and("method.teacher");
        lies(text, &[], share, "my.yaml:4");
        let advice = || ConfigError::expected("student.layers", 9, "1 to 6; or method.teacher: none");
        lies(text, &[], advice(), "my.yaml");
        lies(text, &["student.layers=9"], advice(), "--set student.layers");
    }

    #[test]
    fn the_last_override_counts_before_the_file() {
        let sets = ["method.beta=2", "method.beta=3", "train.lr=1"];
        lies(FLOW, &sets, wrong("method.beta"), "--set method.beta");
        lies(FLOW, &["method={name: kd, beta: 3}"], wrong("method.beta"), "--set method");
        lies(FLOW, &["method={name: kd}"], wrong("method.beta"), "--set method");
        lies(FLOW, &["method.temperature.from=0"], wrong("method.temperature"), "--set method.temperature.from");
        lies(FLOW, &["method.betas=0"], wrong("method.beta"), "my.yaml:3");
        lies(FLOW, &["method.stages=[{share: 1}, {share: 0}]"], wrong("method.stages[1].share"), "--set method.stages");
    }

    #[test]
    fn in_another_kind_of_file_keys_are_below_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.yaml");
        let text = "run:\n  train: {lr: 1}\nmethods:\n- method: kd\n- method: newsbert\n  set:\n    method.beta: 2\n";
        std::fs::write(&path, text).unwrap();
        let place = |key: &str, sets: &[&str]| {
            let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
            let found = point_within(wrong(key).into(), &path, &sets, &["methods[1].set", "run"]).to_string();
            found.rsplit('/').next().unwrap().to_owned()
        };
        assert_eq!(place("method.beta", &[]), "many.yaml:7");
        assert_eq!(place("train.lr", &[]), "many.yaml:2");
        assert_eq!(place("train.warmup", &[]), "many.yaml:2");
        assert_eq!(place("train.lr", &["run.train.lr=3"]), "--set run.train.lr");
        assert_eq!(place("student.layers", &[]), "many.yaml");
    }

    #[test]
    fn keys_at_the_top_have_their_line() {
        let text = "task: topic\nname: a/b\ndevice: cuda:9\nteacher: {}\n";
        lies(text, &[], wrong("name"), "my.yaml:2");
        lies(text, &[], ConfigError::conflict("device", "cuda:9", "libtorch sees 0 CUDA devices"), "my.yaml:3");
        lies(text, &[], wrong("teacher"), "my.yaml:4");
        lies(text, &[], Error::msg("the name of the task"), "my.yaml");
    }

    #[test]
    fn a_key_is_found_below_and_above_other_context() {
        let text = "task: topic\nteacher:\n  checkpoint: nowhere\n";
        let no_file = || Error::msg("nowhere/config.json: no such file");
        lies(text, &[], no_file().context(KeyPath::from("teacher.checkpoint")), "my.yaml:3");
        lies(text, &[], no_file().context(KeyPath::from("teacher.checkpoint")).context("kd-1l-s0"), "my.yaml:3");
        lies(text, &[], Error::from(wrong("teacher.random")).context("cannot read the teacher"), "my.yaml:2");
    }
}
