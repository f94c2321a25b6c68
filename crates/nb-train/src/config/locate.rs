//! Where in the configuration a problem lies: the line of the file, or the `--set` that brought the value.
//!
//! What checks values knows keys, not lines. Its messages name the key (`method.beta is 1.5, expected …`), and only once
//! there is such a message are the lines looked up: the reader of values (serde_yaml) tells no positions, so the file is
//! gone through again by a parser that does.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Error;
use saphyr_parser::{Event, Parser};
use serde_yaml::Value;

use super::Override;

/// The keys at the top of a configuration.
const TOP: [&str; 14] = [
    "name",
    "output",
    "seed",
    "device",
    "precision",
    "threads",
    "task",
    "data",
    "reader",
    "teacher",
    "student",
    "method",
    "train",
    "checkpoints",
];

/// Puts before a problem where it lies: `my.yaml:12` if the message names a key that stands there, `--set method.beta` if
/// an override set it. Of several keys that a message names the first that somebody typed counts; of a key that nobody
/// did, the nearest one above it.
pub fn point(problem: Error, path: &Path, overrides: &[Override]) -> Error {
    point_within(problem, path, overrides, &[""])
}

/// As [`point`], for a file that holds the keys of a run below others: a comparison's, say, has them below
/// `["methods[1].set", "run"]`, the first of which that has a key counts.
pub fn point_within(problem: Error, path: &Path, overrides: &[Override], within: &[&str]) -> Error {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let typed = Typed { lines: lines(&text), overrides };
    let place = typed.place(&format!("{problem:#}"), within);
    problem.context(match place {
        Some(Place::Line(line)) => format!("{}:{line}", path.display()),
        Some(Place::Set(key)) => format!("--set {key}"),
        None => path.display().to_string(),
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Line(usize),
    Set(String),
}

/// All that somebody typed.
struct Typed<'a> {
    lines: BTreeMap<String, usize>,
    overrides: &'a [Override],
}

impl Typed<'_> {
    fn place(&self, message: &str, within: &[&str]) -> Option<Place> {
        let keys: Vec<&str> = keys(message).collect();
        let within = |key: &str| {
            let whole = |top: &&str| if top.is_empty() { key.to_owned() } else { format!("{top}.{key}") };
            within.iter().map(whole).find_map(|key| self.find(&key))
        };
        let above = |key| std::iter::successors(Some(key), |key: &&str| parent(key)).skip(1);
        keys.iter().copied().chain(keys.first().copied().into_iter().flat_map(above)).find_map(within)
    }

    /// Where a key was typed: as the last override that has to do with it says, else in the file.
    fn find(&self, key: &str) -> Option<Place> {
        let concerns = |own: &&Override| below(&own.key, key).or(below(key, &own.key)).is_some();
        match self.overrides.iter().rev().find(concerns) {
            Some(own) => match below(key, &own.key) {
                Some(rest) if !holds(&own.value, rest) => None, // it replaced what stood there by something without this key
                _ => Some(Place::Set(own.key.clone())),
            },
            None => self.lines.get(key).copied().map(Place::Line),
        }
    }
}

/// The keys that a message names before it says what was expected: dotted ones, and at its start one from the top.
fn keys(message: &str) -> impl Iterator<Item = &str> {
    let found = message.split("expected").next().unwrap_or_default();
    let words = found.split(|c: char| c.is_whitespace() || "`'\"(),;:".contains(c)).enumerate();
    words.filter_map(|(i, word)| {
        let word = word.trim_end_matches('.');
        let (top, rest) = word.split_once('.').unwrap_or((word, ""));
        (TOP.contains(&top) && (i == 0 || !rest.is_empty())).then_some(word)
    })
}

/// `a.b[1]` → `a.b` → `a`.
fn parent(key: &str) -> Option<&str> {
    key.rfind(['.', '[']).map(|end| &key[..end])
}

/// What follows in `key` where it is `above` or stands below it.
fn below<'a>(key: &'a str, above: &str) -> Option<&'a str> {
    key.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether a value has the key `.a.b[1]` in it.
fn holds(value: &Value, key: &str) -> bool {
    let mut parts = key.split(['.', '[', ']']).filter(|part| !part.is_empty());
    let inner = parts.try_fold(value, |at, part| match part.parse::<usize>() {
        Ok(index) if at.is_sequence() => at.get(index),
        _ => at.get(part),
    });
    inner.is_some()
}

/// A mapping or a list on the way to a value.
enum Around {
    Mapping { path: String, key: Option<String> },
    List { path: String, next: usize },
}

/// The line of every key and list item: `method.stages[1].weights.soft`. Of a file that is no YAML, those before the fault.
fn lines(text: &str) -> BTreeMap<String, usize> {
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
                        lines.insert(path.clone(), line);
                        path
                    }
                    Some(Around::Mapping { path, key }) => match key.take() {
                        Some(key) => key,
                        None => {
                            let own = if path.is_empty() { scalar.to_owned() } else { format!("{path}.{scalar}") };
                            lines.insert(own.clone(), line);
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

    #[track_caller]
    fn lies(text: &str, sets: &[&str], message: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.yaml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
        let found = format!("{:#}", point(Error::msg(message.to_owned()), &path, &sets));
        let found = found.replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(found, format!("{expected}: {message}"));
    }

    #[test]
    fn a_key_in_block_style_has_its_line() {
        lies(BLOCK, &[], "data.format is csv, but", "my.yaml:4");
        lies(BLOCK, &[], "data.columns.text names 3 columns", "my.yaml:7");
        lies(BLOCK, &[], "method.stages[1].share is 0, expected", "my.yaml:13");
        lies(BLOCK, &[], "method.stages[1].weights.soft is -1, expected a number", "my.yaml:15");
        lies(
            &format!("\u{feff}{}", BLOCK.replace('\n', "\r\n")),
            &[],
            "method.stages[1].weights.soft is -1",
            "my.yaml:15",
        );
    }

    #[test]
    fn a_key_in_flow_style_has_its_line() {
        lies(FLOW, &[], "method.name is `kd`", "my.yaml:2");
        lies(FLOW, &[], "method.beta is 0.1, expected", "my.yaml:3");
        lies(FLOW, &[], "method.weights.hard is 2", "my.yaml:4");
        lies(FLOW, &[], "method.stages[1].share is 2", "my.yaml:5");
        lies(FLOW, &[], "method.stages[1].weights leaves no term", "my.yaml:5");
    }

    #[test]
    fn of_a_key_that_nobody_typed_the_nearest_one_above_counts() {
        lies(BLOCK, &[], "data.columns.text[7] is odd", "my.yaml:7");
        lies(BLOCK, &[], "data.train is /a/b.csv, but there is no such file", "my.yaml:3");
        lies(BLOCK, &[], "train.lr is -1, expected a number", "my.yaml");
        lies(BLOCK, &[], "nothing that names a key", "my.yaml");
        lies("data: [", &[], "data.train is missing", "my.yaml:1");
        lies(BLOCK, &[], "data.csv is no key", "my.yaml:3");
    }

    #[test]
    fn of_several_keys_the_first_that_was_typed_counts() {
        let text = "task: topic\nmethod:\n  name: newsbert\n  teacher: frozen\n";
        lies(text, &[], "method.share names top layers, but method.teacher is frozen: it has its own", "my.yaml:4");
        let advice = "student.layers is 9, expected 1 to 6; or method.teacher: none";
        lies(text, &[], advice, "my.yaml");
        lies(text, &["student.layers=9"], advice, "--set student.layers");
    }

    #[test]
    fn the_last_override_counts_before_the_file() {
        let sets = ["method.beta=2", "method.beta=3", "train.lr=1"];
        lies(FLOW, &sets, "method.beta is 3, expected", "--set method.beta");
        lies(FLOW, &["method={name: kd, beta: 3}"], "method.beta is 3, expected", "--set method");
        lies(FLOW, &["method={name: kd}"], "method.beta is 0.1, expected", "--set method");
        lies(FLOW, &["method.temperature.from=0"], "method.temperature is odd", "--set method.temperature.from");
        lies(FLOW, &["method.betas=0"], "method.beta is 0.1", "my.yaml:3");
        lies(FLOW, &["method.stages=[{share: 1}, {share: 0}]"], "method.stages[1].share is 0", "--set method.stages");
    }

    #[test]
    fn in_another_kind_of_file_keys_stand_below_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.yaml");
        let text = "run:\n  train: {lr: 1}\nmethods:\n- method: kd\n- method: newsbert\n  set:\n    method.beta: 2\n";
        std::fs::write(&path, text).unwrap();
        let place = |message: &'static str, sets: &[&str]| {
            let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
            let found = point_within(Error::msg(message), &path, &sets, &["methods[1].set", "run"]).to_string();
            found.rsplit('/').next().unwrap().to_owned()
        };
        assert_eq!(place("method.beta is 2, expected", &[]), "many.yaml:7");
        assert_eq!(place("train.lr is 1, expected", &[]), "many.yaml:2");
        assert_eq!(place("train.warmup is 2, expected", &[]), "many.yaml:2");
        assert_eq!(place("train.lr is 3, expected", &["run.train.lr=3"]), "--set run.train.lr");
        assert_eq!(place("student.layers is 5, expected", &[]), "many.yaml");
    }

    #[test]
    fn keys_from_the_top_count_at_the_start_of_a_message_alone() {
        let text = "task: topic\nname: a/b\ndevice: cuda:9\nteacher: {}\n";
        lies(text, &[], "name is `a/b`, expected a plain name", "my.yaml:2");
        lies(text, &[], "device is cuda:9, but libtorch sees 0 CUDA devices", "my.yaml:3");
        lies(text, &[], "teacher needs one of `checkpoint` and `random`", "my.yaml:4");
        lies(text, &[], "the name of the task", "my.yaml");
    }

    #[test]
    fn every_key_at_the_top_is_known() {
        let config = "task: topic\ndata: {format: mind, train: a}\nteacher: {}\n";
        let config: super::super::RunConfig = serde_yaml::from_str(config).unwrap();
        let Value::Mapping(all) = serde_yaml::to_value(&config).unwrap() else { panic!("a mapping") };
        assert_eq!(all.keys().map(|key| key.as_str().unwrap()).collect::<Vec<_>>(), TOP);
    }
}
