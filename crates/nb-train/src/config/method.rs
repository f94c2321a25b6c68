//! The method as the configuration says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::course::{CourseConfig, TemperatureConfig};
use crate::method::TermKind;

/// The method: a preset by name, any part of it overridden, or all parts without a name.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodConfig {
    /// A preset.
    pub name: Option<String>,
    /// Where the teacher stands.
    pub teacher: Option<TeacherRoleChoice>,
    /// Temperature of the soft terms.
    pub temperature: Option<TemperatureConfig>,
    /// Whether the soft terms are multiplied by the temperature squared.
    pub t2: Option<bool>,
    /// Share of the teacher's gradients in the student's.
    pub beta: Option<CourseConfig>,
    /// Which gradients are blended.
    pub blend: Option<Vec<BlendChoice>>,
    /// Which top layers both models have in common.
    pub share: Option<Vec<ShareChoice>>,
    /// Which teacher layers the term `patience` looks at.
    pub patience: Option<PatienceChoice>,
    /// How the logits of several frozen teachers become one.
    pub ensemble: Option<EnsembleChoice>,
    /// Weight of each term; a weight of 0 leaves the term out.
    pub weights: WeightsConfig,
    /// Several stages, each with weights of its own, in place of `weights`.
    pub stages: Option<Vec<StageConfig>>,
}

/// Weights of the terms by name.
pub type WeightsConfig = BTreeMap<TermKind, CourseConfig>;

/// A part of the training with terms of its own.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Its share of the steps; shares count relative to each other.
    pub share: f64,
    /// Weight of each term.
    pub weights: WeightsConfig,
}

/// Where the teacher stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherRoleChoice {
    /// There is no teacher; the student learns from labels.
    None,
    /// It was trained before and does not change.
    Frozen,
    /// The teacher is trained along.
    Joint,
}

/// A part whose gradients are blended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlendChoice {
    /// The encoder layers.
    Layers,
    /// The embedding layer.
    Embeddings,
}

/// A top layer that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareChoice {
    /// Attentive pooling.
    Pooling,
    /// What stands on the pooled vectors: the dense layer, in recommendation the reader model.
    #[serde(alias = "reader")]
    Dense,
}

/// Which teacher layers PKD's term looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PatienceChoice {
    /// Every K-th.
    Skip,
    /// The last ones before the topmost.
    Last,
}

/// How the logits of several teachers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EnsembleChoice {
    /// Their mean.
    #[default]
    Mean,
    /// Each weighted by how little it errs on the example.
    Loss,
}
