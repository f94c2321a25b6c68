//! The position of every key of a YAML file. serde_yaml gives none for its values, so another parser reads the file again.

use std::collections::BTreeMap;
use std::fmt;

use saphyr_parser::{Event, Parser, Span};

use super::key::KeyPath;

/// A position in a text file; both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

impl fmt::Display for Position {
    /// Writes `line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The keys and list items of a file.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// The position of each, for example of `method.stages[1].weights.soft`.
    pub keys: BTreeMap<KeyPath, Position>,
    /// The first key that its mapping has twice, with its second position.
    pub repeated: Option<(KeyPath, Position)>,
}

/// Finds the positions of all keys and list items. In a text that is not valid YAML, these are the ones before the error.
pub(super) fn positions(text: &str) -> Positions {
    let mut reader = Reader::default();
    for (event, span) in Parser::new_from_str(text.trim_start_matches('\u{feff}')).map_while(Result::ok) {
        match event {
            Event::MappingEnd | Event::SequenceEnd => drop(reader.open.pop()),
            Event::DocumentEnd => break,
            Event::Scalar(text, ..) => drop(reader.node(&text, span)),
            Event::Alias(_) => drop(reader.node("", span)),
            Event::MappingStart(..) => {
                let path = reader.node("", span);
                reader.open.push(Collection::Mapping { path, key: None });
            }
            Event::SequenceStart(..) => {
                let path = reader.node("", span);
                reader.open.push(Collection::Sequence { path, next: 0 });
            }
            _ => {}
        }
    }
    reader.found
}

/// A mapping or a sequence whose end has not been read.
enum Collection {
    /// `key` is the path of a key whose value comes next.
    Mapping {
        path: String,
        key: Option<String>,
    },
    Sequence {
        path: String,
        next: usize,
    },
}

#[derive(Default)]
struct Reader {
    found: Positions,
    open: Vec<Collection>,
}

impl Reader {
    /// Reads the start of a node, which is a key, a value or an item. `text` is the text of a scalar. Returns the node's path.
    fn node(&mut self, text: &str, span: Span) -> String {
        let position = Position { line: span.start.line(), column: span.start.col() + 1 };
        let path = match self.open.last_mut() {
            None => return String::new(),
            Some(Collection::Mapping { key, .. }) if key.is_some() => return key.take().unwrap_or_default(),
            Some(Collection::Mapping { path, key }) => {
                let path = if path.is_empty() { text.to_owned() } else { format!("{path}.{text}") };
                *key = Some(path.clone());
                path
            }
            Some(Collection::Sequence { path, next }) => {
                *next += 1;
                format!("{path}[{}]", *next - 1)
            }
        };
        if self.found.keys.insert(path.clone().into(), position).is_some() && self.found.repeated.is_none() {
            self.found.repeated = Some((path.clone().into(), position));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_positions(text: &str, expected: &[(&str, &str)]) {
        let found: Vec<(String, String)> =
            positions(text).keys.iter().map(|(key, position)| (key.to_string(), position.to_string())).collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(key, position)| (&**key, &**position)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_and_items_have_a_line_and_a_column() {
        let text = "a: 1\n# a comment\nb:\n  - c: {d: 2,\n      e: [3]}\n  - x\n";
        let expected =
            [("a", "1:1"), ("b", "3:1"), ("b[0]", "4:5"), ("b[0].c", "4:5"), ("b[0].c.d", "4:9"), ("b[0].c.e", "5:7")];
        assert_positions(text, &[&expected[..], &[("b[0].c.e[0]", "5:11"), ("b[1]", "6:5")]].concat());
        assert_positions("\u{feff}a: 1\r\nb: 2\r\n", &[("a", "1:1"), ("b", "2:1")]);
        assert_positions("a: &x {c: 1}\nb: *x\n", &[("a", "1:1"), ("a.c", "1:8"), ("b", "2:1")]);
    }

    #[test]
    fn only_keys_before_an_error_are_found() {
        assert_positions("a: 1\nb: [", &[("a", "1:1"), ("b", "2:1")]);
        assert_positions("", &[]);
    }

    #[test]
    fn a_repeated_key_is_found() {
        let repeated = |text: &str| positions(text).repeated.map(|(key, position)| format!("{position} {key}"));
        assert_eq!(repeated("a: 1\nb: {c: 1, c: 2}\na: 2\n").as_deref(), Some("2:11 b.c"));
        assert_eq!(repeated("a: {c: 1}\nb: {c: 1}\n"), None);
        assert_eq!(repeated("- {c: 1}\n- {c: 1}\n"), None);
    }
}
