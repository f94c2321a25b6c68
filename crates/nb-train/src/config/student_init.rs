//! The key `student.init`: a word, a checkpoint, or layers of the teacher by number.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The student's initial weights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StudentInit {
    /// `first`: the teacher's first layers.
    #[default]
    First,
    /// `spaced`: every K-th layer of the teacher.
    Spaced,
    /// `ends`: the teacher's lowest and topmost layers.
    Ends,
    /// `{layers: […]}`: these layers of the teacher, counted from 0.
    Layers(Vec<usize>),
    /// `random`: random weights.
    Random,
    /// A checkpoint: a folder or `hf:owner/name`.
    Checkpoint(String),
}

impl StudentInit {
    /// The words that are not checkpoints.
    pub(super) const WORDS: [&str; 4] = ["first", "spaced", "ends", "random"];
}

/// The mapping form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbered {
    layers: Vec<usize>,
}

impl<'de> Deserialize<'de> for StudentInit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrLayers;
        impl<'de> Visitor<'de> for WordOrLayers {
            type Value = StudentInit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`first`, `spaced`, `ends`, `random`, a checkpoint, or {layers: [0, …]}")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<StudentInit, E> {
                Ok(match word {
                    "first" => StudentInit::First,
                    "spaced" => StudentInit::Spaced,
                    "ends" => StudentInit::Ends,
                    "random" => StudentInit::Random,
                    other => StudentInit::Checkpoint(other.to_owned()),
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StudentInit, A::Error> {
                Ok(StudentInit::Layers(Numbered::deserialize(MapAccessDeserializer::new(map))?.layers))
            }
        }
        deserializer.deserialize_any(WordOrLayers)
    }
}

impl Serialize for StudentInit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = match self {
            Self::First => "first",
            Self::Spaced => "spaced",
            Self::Ends => "ends",
            Self::Random => "random",
            Self::Checkpoint(path) => path,
            Self::Layers(layers) => return Numbered { layers: layers.clone() }.serialize(serializer),
        };
        serializer.serialize_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        let forms = [
            ("first", StudentInit::First),
            ("spaced", StudentInit::Spaced),
            ("ends", StudentInit::Ends),
            ("random", StudentInit::Random),
            ("hf:a/b", StudentInit::Checkpoint("hf:a/b".to_owned())),
            ("{layers: [0, 5]}", StudentInit::Layers(vec![0, 5])),
        ];
        for (text, expected) in forms {
            let read: StudentInit = serde_yaml::from_str(text).unwrap();
            assert_eq!(read, expected, "{text}");
            let written = serde_yaml::to_string(&read).unwrap();
            assert_eq!(serde_yaml::from_str::<StudentInit>(&written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn other_forms_are_errors_that_list_the_forms() {
        for text in ["3", "[0, 5]", "null"] {
            let error = serde_yaml::from_str::<StudentInit>(text).unwrap_err().to_string();
            assert!(error.contains("`ends`, `random`, a checkpoint, or {layers: [0, …]}"), "{text}: {error}");
        }
        for text in ["{layers: 2}", "{layers: [-1]}", "{layer: [0]}", "{}"] {
            assert!(serde_yaml::from_str::<StudentInit>(text).is_err(), "{text}");
        }
    }
}
