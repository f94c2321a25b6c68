//! The terms of a total loss.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A term of the total loss.
///
/// | name | term |
/// | --- | --- |
/// | `teacher` | L^t: the teacher's cross entropy with the label |
/// | `embedding` | MSE of the embedding outputs, over real tokens and hidden units |
/// | `hidden` | Σ over the student's layers i of the MSE between H^t_{iK} and H^s_i |
/// | `pooled` | MSE of the pooled vectors |
/// | `patience` | Σ over all student layers but the last of the MSE between normalised \[CLS\] states (PKD) |
/// | `attention` | Σ over the student's layers i of the MSE between attention scores of layers iK and i (TinyBERT) |
/// | `cosine` | 1 − cosine of the last hidden states, over real tokens (DistilBERT) |
/// | `soft` | cross entropy between the softened outputs of teacher and student |
/// | `divergence` | KL divergence between the same outputs: `soft` minus the entropy of the teacher's, hence the same gradient |
/// | `vector` | squared distance of the models' vectors, over texts |
/// | `vector_cosine` | 1 − cosine of the models' vectors, over texts |
/// | `similarity` | squared difference of the cosines of two texts' vectors, over pairs of texts of a micro-batch |
/// | `similarity_kl` | KL divergence between softmaxes over those cosines, times `method.similarity_scale`; over texts |
/// | `hard` | the student's cross entropy with the label |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum TermKind {
    /// The teacher's cross entropy with the label.
    Teacher,
    /// MSE of the embedding outputs.
    Embedding,
    /// MSE of hidden states, layer by layer.
    Hidden,
    /// MSE of the pooled vectors.
    Pooled,
    /// MSE of normalised \[CLS\] states of intermediate layers.
    Patience,
    /// MSE of attention scores, layer by layer.
    Attention,
    /// Cosine distance of the last hidden states.
    Cosine,
    /// Squared distance of the models' vectors.
    Vector,
    /// Cosine distance of the models' vectors.
    VectorCosine,
    /// Squared difference of the cosines of two texts' vectors.
    Similarity,
    /// KL divergence between softmaxes over the cosines of a text's vector with those of the other texts.
    SimilarityKl,
    /// Cross entropy between the softened outputs.
    Soft,
    /// KL divergence between the softened outputs.
    Divergence,
    /// The student's cross entropy with the label.
    Hard,
}

impl TermKind {
    /// Every term, in the order of reports.
    pub const ALL: [Self; 14] = [
        Self::Teacher,
        Self::Embedding,
        Self::Hidden,
        Self::Pooled,
        Self::Patience,
        Self::Attention,
        Self::Cosine,
        Self::Vector,
        Self::VectorCosine,
        Self::Similarity,
        Self::SimilarityKl,
        Self::Soft,
        Self::Divergence,
        Self::Hard,
    ];

    /// Returns the name in configurations, logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Embedding => "embedding",
            Self::Hidden => "hidden",
            Self::Pooled => "pooled",
            Self::Patience => "patience",
            Self::Attention => "attention",
            Self::Cosine => "cosine",
            Self::Vector => "vector",
            Self::VectorCosine => "vector_cosine",
            Self::Similarity => "similarity",
            Self::SimilarityKl => "similarity_kl",
            Self::Soft => "soft",
            Self::Divergence => "divergence",
            Self::Hard => "hard",
        }
    }

    /// Returns the term with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns whether the term needs the teacher's outputs.
    pub(crate) fn needs_teacher(self) -> bool {
        self != Self::Hard
    }

    /// Returns whether the term needs labels.
    pub fn needs_label(self) -> bool {
        matches!(self, Self::Teacher | Self::Hard)
    }

    /// Returns whether the term compares rows of logits.
    pub(crate) fn compares_logits(self) -> bool {
        matches!(self, Self::Soft | Self::Divergence)
    }

    /// Returns whether the term compares the models text by text, independently of the rows that use a text.
    pub(crate) fn compares_texts(self) -> bool {
        self.compares_widths() || self.compares_similarities() || self == Self::Attention
    }

    /// Returns whether the term needs the student's outputs.
    pub(crate) fn needs_student(self) -> bool {
        self != Self::Teacher
    }

    /// Returns whether the term compares each student layer with its group of teacher layers.
    pub(crate) fn needs_layers(self) -> bool {
        matches!(self, Self::Hidden | Self::Attention)
    }

    /// Returns whether the term uses the outputs of the top layers: pooled vectors or logits.
    pub fn needs_outputs(self) -> bool {
        let states = matches!(self, Self::Embedding | Self::Hidden | Self::Patience | Self::Attention | Self::Cosine);
        !states
    }

    /// Returns whether the term uses hidden states before the last one.
    pub fn needs_states(self) -> bool {
        matches!(self, Self::Embedding | Self::Hidden | Self::Patience)
    }

    /// Returns whether the term compares the models' vectors, those that their heads output.
    pub fn compares_vectors(self) -> bool {
        matches!(self, Self::Vector | Self::VectorCosine)
    }

    /// Returns whether the term compares similarities between texts, which do not depend on the width of the vectors.
    pub fn compares_similarities(self) -> bool {
        matches!(self, Self::Similarity | Self::SimilarityKl)
    }

    /// Returns whether the term compares vectors of hidden units. Those of a narrower student are projected to the teacher's
    /// width.
    pub fn compares_widths(self) -> bool {
        let states = matches!(self, Self::Embedding | Self::Hidden | Self::Pooled | Self::Patience | Self::Cosine);
        states || self.compares_vectors()
    }
}

impl Serialize for TermKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TermKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = TermKind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let names: Vec<&str> = TermKind::ALL.iter().map(|kind| kind.name()).collect();
                write!(f, "one of {}", names.join(", "))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<TermKind, E> {
                TermKind::named(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
            }
        }
        deserializer.deserialize_str(Name)
    }
}
