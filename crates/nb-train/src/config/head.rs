//! The section `head` of a configuration: the layers between an encoder and the outputs.

use nb_checkpoint::{PoolingKind, ScaleKind, ScoreKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Head: pooling of a text's states and, for ranking, the score of two vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Pooling of a text's states.
    pub pooling: PoolingChoice,
    /// Score of two vectors (recommend, retrieve, embed); by default as the teacher's folder says, else `cosine`.
    pub score: Option<ScoreChoice>,
    /// Factor of the score in training: a number or `learned`; by default 20 for `cosine` and 1 for `dot`.
    #[schemars(schema_with = "schema::scale")]
    pub scale: Option<ScaleKind>,
}

/// Pooling of a text's states into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolingChoice {
    /// As the teacher's folder says (`newsbert.json`, or `modules.json` of sentence-transformers); without such a file
    /// `attentive` for topics, `mean` for ranking
    #[default]
    Auto,
    /// Attentive pooling, with trained parameters
    Attentive,
    /// The mean of the states
    Mean,
    /// The state of `[CLS]`
    Cls,
}

impl PoolingChoice {
    /// Returns the chosen kind; `None` for `auto`.
    pub(crate) fn kind(self) -> Option<PoolingKind> {
        match self {
            Self::Auto => None,
            Self::Attentive => Some(PoolingKind::Attentive),
            Self::Mean => Some(PoolingKind::Mean),
            Self::Cls => Some(PoolingKind::Cls),
        }
    }
}

impl From<PoolingKind> for PoolingChoice {
    fn from(kind: PoolingKind) -> Self {
        match kind {
            PoolingKind::Attentive => Self::Attentive,
            PoolingKind::Mean => Self::Mean,
            PoolingKind::Cls => Self::Cls,
        }
    }
}

/// Score of two vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScoreChoice {
    /// Their dot product
    Dot,
    /// Their cosine
    Cosine,
}

impl From<ScoreChoice> for ScoreKind {
    fn from(choice: ScoreChoice) -> Self {
        match choice {
            ScoreChoice::Dot => Self::Dot,
            ScoreChoice::Cosine => Self::Cosine,
        }
    }
}

impl From<ScoreKind> for ScoreChoice {
    fn from(kind: ScoreKind) -> Self {
        match kind {
            ScoreKind::Dot => Self::Dot,
            ScoreKind::Cosine => Self::Cosine,
        }
    }
}

/// Pooling of a reader's clicked articles into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReaderPoolingChoice {
    /// Attentive pooling, with trained parameters
    Attentive,
    /// The mean of the articles
    Mean,
}

impl From<ReaderPoolingChoice> for PoolingKind {
    fn from(choice: ReaderPoolingChoice) -> Self {
        match choice {
            ReaderPoolingChoice::Attentive => Self::Attentive,
            ReaderPoolingChoice::Mean => Self::Mean,
        }
    }
}
