//! The key `data.class_weights`: `none`, `balanced`, or a weight for each label.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The weights of classes in the hard loss.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ClassWeights {
    /// `none`: every row counts the same.
    #[default]
    None,
    /// `balanced`: rows / (classes · rows of the class), so that every class counts the same.
    Balanced,
    /// A weight above 0 for some labels; 1 for the others.
    Given(BTreeMap<String, f64>),
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;
        impl<'de> Visitor<'de> for WordOrMap {
            type Value = ClassWeights;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, `balanced`, or weights above 0 by label, for example `{sport: 2}`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ClassWeights, E> {
                match text {
                    "none" => Ok(ClassWeights::None),
                    "balanced" => Ok(ClassWeights::Balanced),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClassWeights, A::Error> {
                let mut weights = BTreeMap::new();
                while let Some((Label(label), weight)) = map.next_entry::<Label, f64>()? {
                    if !(weight > 0.0 && weight.is_finite()) {
                        return Err(A::Error::invalid_value(Unexpected::Float(weight), &self));
                    }
                    weights.insert(label, weight);
                }
                Ok(ClassWeights::Given(weights))
            }
        }
        deserializer.deserialize_any(WordOrMap)
    }
}

/// A label, which YAML may take for a number or a truth value.
struct Label(String);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Label;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a label")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Label, E> {
                Ok(Label(text.to_owned()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Label, E> {
                Ok(Label(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Label, E> {
                Ok(Label(number.to_string()))
            }
            fn visit_bool<E: Error>(self, truth: bool) -> Result<Label, E> {
                Ok(Label(truth.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Balanced => serializer.serialize_str("balanced"),
            Self::Given(weights) => weights.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        let given = ClassWeights::Given(BTreeMap::from([("a".to_owned(), 2.0), ("b".to_owned(), 0.5)]));
        for (text, expected) in
            [("none", ClassWeights::None), ("balanced", ClassWeights::Balanced), ("a: 2.0\nb: 0.5", given)]
        {
            assert_eq!(serde_yaml::from_str::<ClassWeights>(text).unwrap(), expected);
            assert_eq!(serde_yaml::to_string(&expected).unwrap().trim(), text);
        }
    }

    #[test]
    fn labels_may_look_like_numbers() {
        let value: serde_yaml::Value = serde_yaml::from_str("{1: 2, -3: 0.5, true: 4}").unwrap();
        let labels = [("1", 2.0), ("-3", 0.5), ("true", 4.0)].map(|(label, weight)| (label.to_owned(), weight));
        let expected = ClassWeights::Given(BTreeMap::from(labels));
        assert_eq!(serde_yaml::from_value::<ClassWeights>(value).unwrap(), expected);
    }

    #[test]
    fn weights_that_are_not_above_0_are_refused() {
        for text in ["equal", "{a: 0}", "{a: -1}", "{a: .nan}", "{a: .inf}", "3", "[1]"] {
            let error = serde_yaml::from_str::<ClassWeights>(text).unwrap_err().to_string();
            assert!(error.contains("`none`, `balanced`, or weights above 0 by label"), "{text}: {error}");
        }
    }
}
