//! The two models as the configuration says them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::StudentInit;

/// The large model: a checkpoint, or a random one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// A folder, or `hf:owner/name`.
    pub checkpoint: Option<String>,
    /// A model of random weights.
    pub random: Option<RandomConfig>,
    /// Model folders of teachers that were trained for this task already; a frozen teacher without one is trained first.
    pub trained: Option<Vec<PathBuf>>,
    /// How a frozen teacher is trained first, where that differs from `train`.
    pub train: Option<TeacherTrainConfig>,
    /// Whether a frozen teacher's outputs are computed once and kept.
    #[serde(default)]
    pub outputs: OutputsChoice,
}

/// How a frozen teacher is trained before the student.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherTrainConfig {
    /// `train.epochs` if absent.
    pub epochs: Option<u64>,
    /// `train.teacher_lr` if absent.
    pub lr: Option<f64>,
    /// `train.head_lr` if absent.
    pub head_lr: Option<f64>,
    /// `train.patience` if absent.
    pub patience: Option<u64>,
}

/// Whether a frozen teacher's outputs are computed once and kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputsChoice {
    /// If it pays.
    #[default]
    Auto,
    /// No: they are computed in every step.
    Compute,
    /// Yes, hidden states in 32 bits.
    F32,
    /// Yes, hidden states in 16 bits.
    Bf16,
}

/// A BERT of random weights, for tests and for speed.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RandomConfig {
    /// Encoder layers.
    pub layers: i64,
    /// Hidden units.
    pub hidden: i64,
    /// Attention heads.
    pub heads: i64,
    /// Feed-forward units; four times `hidden` if absent.
    pub intermediate: Option<i64>,
    /// Folder with `tokenizer.json` or `vocab.txt`.
    pub tokenizer: PathBuf,
}

/// The small model.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentConfig {
    /// Encoder layers; must divide the teacher's where layers are compared or blended.
    pub layers: usize,
    /// Its first weights.
    pub init: StudentInit,
    /// Hidden units; the teacher's if absent. Another number needs `init: random` or a checkpoint.
    pub hidden: Option<i64>,
    /// Attention heads; the teacher's if absent.
    pub heads: Option<i64>,
    /// Feed-forward units; four times `hidden` where that is given, else the teacher's.
    pub intermediate: Option<i64>,
}

impl Default for StudentConfig {
    fn default() -> Self {
        Self { layers: 2, init: StudentInit::First, hidden: None, heads: None, intermediate: None }
    }
}
