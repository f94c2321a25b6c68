//! The keys `teacher.train.layers` and `student.train.layers`: `all`, `none`, or `top N`.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The encoder layers that training changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrainedLayers {
    /// `all`.
    #[default]
    All,
    /// `none`.
    None,
    /// `top N`: the N layers nearest to the output. At least 1.
    Top(usize),
}

impl fmt::Display for TrainedLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Top(count) => write!(f, "top {count}"),
        }
    }
}

impl<'de> Deserialize<'de> for TrainedLayers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = TrainedLayers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, `none`, or `top N` with N of at least 1, for example `top 2`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TrainedLayers, E> {
                let number = text.strip_prefix("top ").and_then(|number| number.parse().ok()).filter(|&n| n > 0);
                match text {
                    "all" => Ok(TrainedLayers::All),
                    "none" => Ok(TrainedLayers::None),
                    _ => number
                        .map(TrainedLayers::Top)
                        .filter(|layers| layers.to_string() == text) // no sign, no leading zeros
                        .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl Serialize for TrainedLayers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, expected) in
            [("all", TrainedLayers::All), ("none", TrainedLayers::None), ("top 12", TrainedLayers::Top(12))]
        {
            assert_eq!(serde_yaml::from_str::<TrainedLayers>(text).unwrap(), expected);
            assert_eq!(serde_yaml::to_string(&expected).unwrap().trim(), text);
        }
    }

    #[test]
    fn other_forms_are_errors_that_list_the_forms() {
        for text in ["2", "top", "top 0", "top -1", "top +1", "top 01", "top two", "bottom 2", "~", "true", "[top 2]"] {
            let error = serde_yaml::from_str::<TrainedLayers>(text).unwrap_err().to_string();
            assert!(error.contains("`all`, `none`, or `top N`"), "{text}: {error}");
        }
    }
}
