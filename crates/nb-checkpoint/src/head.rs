//! The description of a head: pooling, score and scale.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The pooling of a text's states into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolingKind {
    /// Attentive pooling, with trained parameters.
    #[default]
    Attentive,
    /// The mean of the tokens' states.
    Mean,
    /// The state of the first token, `[CLS]`.
    Cls,
}

impl PoolingKind {
    /// Returns the name in files and configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attentive => "attentive",
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

/// The score of two vectors, before its scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreKind {
    /// Their dot product.
    #[default]
    Dot,
    /// Their cosine: the dot product of unit vectors.
    Cosine,
}

impl ScoreKind {
    /// Returns the name in files and configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Cosine => "cosine",
        }
    }
}

/// The factor of a score in training: a number, or a parameter. Rankings do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScaleKind {
    /// A constant.
    Fixed(f64),
    /// A trained parameter.
    Learned,
}

impl Default for ScaleKind {
    /// 1.
    fn default() -> Self {
        Self::Fixed(1.0)
    }
}

impl fmt::Display for ScaleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(scale) => scale.fmt(f),
            Self::Learned => f.write_str("learned"),
        }
    }
}

impl Serialize for ScaleKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(scale) => serializer.serialize_f64(*scale),
            Self::Learned => serializer.serialize_str("learned"),
        }
    }
}

impl<'de> Deserialize<'de> for ScaleKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrWord;
        impl Visitor<'_> for NumberOrWord {
            type Value = ScaleKind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number above 0 or `learned`")
            }
            fn visit_f64<E: Error>(self, scale: f64) -> Result<ScaleKind, E> {
                match scale > 0.0 && scale.is_finite() {
                    true => Ok(ScaleKind::Fixed(scale)),
                    false => Err(E::invalid_value(Unexpected::Float(scale), &self)),
                }
            }
            fn visit_u64<E: Error>(self, scale: u64) -> Result<ScaleKind, E> {
                self.visit_f64(scale as f64)
            }
            fn visit_i64<E: Error>(self, scale: i64) -> Result<ScaleKind, E> {
                self.visit_f64(scale as f64)
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<ScaleKind, E> {
                match word {
                    "learned" => Ok(ScaleKind::Learned),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(NumberOrWord)
    }
}

/// The width Q of the query of attentive pooling, as in NewsBERT.
pub const POOLING_QUERY: i64 = 200;

/// The layers between an encoder and the outputs of a model.
///
/// ```
/// use nb_checkpoint::{HeadDescription, PoolingKind, ScaleKind, ScoreKind};
/// let head: HeadDescription = serde_json::from_str(r#"{"pooling": "mean", "score": "cosine", "scale": 20}"#)?;
/// assert_eq!((head.pooling, head.score, head.scale), (PoolingKind::Mean, ScoreKind::Cosine, ScaleKind::Fixed(20.0)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HeadDescription {
    /// Pooling of a text's states.
    pub pooling: PoolingKind,
    /// Score of two vectors. Topic classification has none, and the default.
    pub score: ScoreKind,
    /// Factor of the score in training.
    pub scale: ScaleKind,
    /// Pooling of the clicked articles in the reader model, for recommendation.
    pub reader: PoolingKind,
    /// Width of the model's vectors, if it differs from the encoder's: a projection follows the pooling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_means_what_heads_were_before_the_key_existed() {
        let head: HeadDescription = serde_json::from_str("{}").unwrap();
        assert_eq!(head, HeadDescription::default());
        assert_eq!(
            (head.pooling, head.score, head.reader),
            (PoolingKind::Attentive, ScoreKind::Dot, PoolingKind::Attentive)
        );
        assert_eq!(head.scale, ScaleKind::Fixed(1.0));
    }

    #[test]
    fn scales_are_numbers_above_zero_or_learned() {
        let read = |text: &str| serde_json::from_str::<ScaleKind>(text).map_err(|error| error.to_string());
        assert_eq!(read("20"), Ok(ScaleKind::Fixed(20.0)));
        assert_eq!(read("0.5"), Ok(ScaleKind::Fixed(0.5)));
        assert_eq!(read("\"learned\""), Ok(ScaleKind::Learned));
        for wrong in ["0", "-1", "\"big\"", "true", "1e999"] {
            let error = read(wrong).unwrap_err();
            assert!(
                error.contains("a number above 0 or `learned`") || error.contains("out of range"),
                "{wrong}: {error}"
            );
        }
        for kind in [ScaleKind::Fixed(20.0), ScaleKind::Learned] {
            assert_eq!(read(&serde_json::to_string(&kind).unwrap()), Ok(kind));
        }
    }
}
