//! The section `method` of a configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ramp::{RampConfig, TemperatureConfig};
use super::schema;
use super::term::TermKind;

/// Method: a preset by name, with any part of it overridden, or all parts without a name.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MethodConfig {
    /// Method.
    pub name: Option<String>,
    /// Settings for everything that the configuration leaves open, not only in this section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<PresetChoice>,
    /// Role of the teacher.
    pub teacher: Option<TeacherRoleChoice>,
    /// Temperature of the soft terms: a number, a ramp, or a rule.
    pub temperature: Option<TemperatureConfig>,
    /// True to multiply the soft terms by the temperature squared.
    pub t2: Option<bool>,
    /// Scale of the cosines in the term `similarity_kl`, 1 divided by its temperature; 20 by default.
    pub similarity_scale: Option<f64>,
    /// Share of the teacher's gradients in the student's, from 0 to 1: a number or a ramp.
    pub beta: Option<RampConfig>,
    /// Gradients that are blended.
    pub blend: Option<Vec<BlendChoice>>,
    /// Head layers that both models share.
    pub share: Option<Vec<ShareChoice>>,
    /// Teacher layers, counted from 0, that the terms `hidden` and `attention` compare with, one for each student layer;
    /// the last layer of each group of K by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<usize>>,
    /// Teacher layers that the term `patience` compares with.
    pub patience: Option<PkdLayersChoice>,
    /// Combination of the logits of several frozen teachers.
    pub ensemble: Option<EnsembleChoice>,
    /// Weight of each term, a number or a ramp; a weight of 0 removes the term.
    #[schemars(schema_with = "schema::weights")]
    pub weights: WeightsConfig,
    /// Stages of the training, each with its own weights, in place of `weights`.
    pub stages: Option<Vec<StageConfig>>,
}

/// Settings for what a configuration leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PresetChoice {
    /// Those that are best for the task
    Tuned,
    /// Those of the NewsBERT paper
    Paper,
}

/// Weights of the terms by name.
pub type WeightsConfig = BTreeMap<TermKind, RampConfig>;

/// Stage of the training with its own terms.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Share of the steps, relative to the other stages.
    pub share: f64,
    /// Weight of each term, a number or a ramp.
    #[schemars(schema_with = "schema::weights")]
    pub weights: WeightsConfig,
}

/// Role of the teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TeacherRoleChoice {
    /// No teacher; the student learns from labels
    None,
    /// Trained before the student, does not change
    Frozen,
    /// Trained together with the student
    Joint,
}

/// Part of the models whose gradients are blended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlendChoice {
    /// The encoder layers
    Layers,
    /// The embedding layer
    Embeddings,
}

/// Top layer that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = schema::add_alias_of_dense)]
pub enum ShareChoice {
    /// Attentive pooling
    Pooling,
    /// The layer on the pooled vectors: the dense layer (topic) or the user model (recommend)
    #[serde(alias = "reader")]
    Dense,
}

/// Teacher layers that the term `patience` (PKD) compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "PatienceChoice")] // schemas that editors already use have this name
pub enum PkdLayersChoice {
    /// Every K-th layer
    Skip,
    /// The last layers before the topmost
    Last,
}

/// Combination of the logits of several teachers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnsembleChoice {
    /// Their mean
    #[default]
    Mean,
    /// Weighted by how well each teacher predicts the label of the example
    Loss,
}
