//! Values of the configuration that are one of several words, or a word or a number.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Meaning of a `"` in csv and tsv.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotingChoice {
    /// As `csv`; in a tsv file whose quotes do not pair up, as `none`
    #[default]
    Auto,
    /// It quotes a field, which may hold delimiters and line breaks
    Csv,
    /// It is text: a line is a row
    None,
}

impl From<QuotingChoice> for nb_data::read::Quoting {
    fn from(choice: QuotingChoice) -> Self {
        match choice {
            QuotingChoice::Auto => Self::Auto,
            QuotingChoice::Csv => Self::Csv,
            QuotingChoice::None => Self::None,
        }
    }
}

/// Treatment of evaluated rows whose label no training row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownLabels {
    /// Skip and count them among the unusable rows
    #[default]
    Skip,
    /// Fail on the first one
    Error,
    /// Count every prediction for them as wrong
    Wrong,
}

/// Number format of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// 32-bit floats
    #[default]
    F32,
    /// bfloat16 products, everything else in f32
    Bf16,
}

/// Device: `auto`, `cpu`, `cuda` or `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first CUDA device, or the CPU if there is none.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda).ok_or(()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = DeviceChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto`, `cpu`, `cuda` or `cuda:N`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<DeviceChoice, E> {
                text.parse().map_err(|()| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Word)
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A column by number (from 0) or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKey {
    /// The number, from 0.
    Number(usize),
    /// The name in the header row.
    Name(String),
}

impl From<&ColumnKey> for nb_data::read::Column {
    fn from(key: &ColumnKey) -> Self {
        match key {
            ColumnKey::Number(n) => Self::Number(*n),
            ColumnKey::Name(name) => Self::Name(name.clone()),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = ColumnKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, or its number from 0")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<ColumnKey, E> {
                Ok(ColumnKey::Number(n as usize))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<ColumnKey, E> {
                Ok(ColumnKey::Name(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Key)
    }
}

/// One column, or a list of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnKeys(pub Vec<ColumnKey>);

impl<'de> Deserialize<'de> for ColumnKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ColumnKeys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, its number from 0, or a list of columns")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<ColumnKeys, E> {
                Ok(ColumnKeys(vec![ColumnKey::Number(n as usize)]))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<ColumnKeys, E> {
                Ok(ColumnKeys(vec![ColumnKey::Name(name.to_owned())]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<ColumnKeys, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = all.next_element()? {
                    keys.push(key);
                }
                if keys.is_empty() { Err(A::Error::invalid_length(0, &self)) } else { Ok(ColumnKeys(keys)) }
            }
        }
        deserializer.deserialize_any(Keys)
    }
}

impl Serialize for ColumnKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl Serialize for ColumnKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(n) => serializer.serialize_u64(*n as u64),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}
