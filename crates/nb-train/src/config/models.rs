//! The sections `teacher` and `student` of a configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::student_init::StudentInit;
use super::trained_layers::TrainedLayers;

/// Large model: a checkpoint, or a random one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Checkpoint: a folder, or `hf:owner/name`.
    pub checkpoint: Option<String>,
    /// Model with random weights, in place of a checkpoint.
    pub random: Option<RandomConfig>,
    /// Model folders of teachers that are already trained for the task; without one, a frozen teacher is trained first.
    pub trained: Option<Vec<PathBuf>>,
    /// Parts of the teacher that are trained, and settings by which the training of a frozen teacher differs from `train`.
    pub train: Option<TeacherTrainConfig>,
    /// Caching of a frozen teacher's outputs, and of the outputs of layers that are not trained.
    #[serde(default)]
    pub outputs: OutputsChoice,
}

/// Parts of the teacher that are trained, and settings by which the training of a frozen teacher differs from `train`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherTrainConfig {
    /// Encoder layers that are trained: `all`, `none`, or the topmost ones (`top 2`). The others keep the values of the
    /// checkpoint.
    pub layers: TrainedLayers,
    /// True if the embeddings are trained; by default, if all layers are.
    pub embeddings: Option<bool>,
    /// Passes over the training texts; `train.epochs` by default.
    pub epochs: Option<u64>,
    /// Sequences per micro-batch, in place of `train.batch` and `train.tokens`, which hold by default.
    pub batch: Option<usize>,
    /// Peak learning rate of the encoder; `train.teacher_lr` by default.
    pub lr: Option<f64>,
    /// Peak learning rate of the head; `train.head_lr` by default.
    pub head_lr: Option<f64>,
    /// Evaluations without a better metric before stopping early; `train.patience` by default.
    pub patience: Option<u64>,
}

/// Caching of outputs that do not change during a run, which are computed once and stored on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputsChoice {
    /// Cache them if they are used more than once and not too large
    #[default]
    Auto,
    /// Compute them in every step
    Compute,
    /// Cache them, with hidden states in 32 bits
    F32,
    /// Cache them, with hidden states in 16 bits
    Bf16,
}

/// BERT with random weights, for tests and measurements.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomConfig {
    /// Number of encoder layers.
    pub layers: i64,
    /// Number of hidden units.
    pub hidden: i64,
    /// Number of attention heads.
    pub heads: i64,
    /// Number of feed-forward units; four times `hidden` by default.
    pub intermediate: Option<i64>,
    /// Folder of a tokenizer.
    pub tokenizer: PathBuf,
}

/// Small model.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StudentConfig {
    /// Number of encoder layers. It must divide the teacher's where layers are compared or blended.
    pub layers: usize,
    /// Initial weights: layers of the teacher (`first`, `spaced`, `ends`, or by number from 0: `{layers: [0, 5]}`),
    /// `random`, or a checkpoint (a folder or `hf:owner/name`).
    pub init: StudentInit,
    /// Parts of the student that are trained.
    pub train: StudentTrainConfig,
    /// False to train the student without dropout: a student that learns its teacher's vectors is more accurate without it.
    pub dropout: bool,
    /// Number of hidden units; the teacher's by default. Another number needs `init: random` or a checkpoint.
    pub hidden: Option<i64>,
    /// Number of attention heads; the teacher's by default.
    pub heads: Option<i64>,
    /// Number of feed-forward units; by default four times `hidden` if that is given, else the teacher's.
    pub intermediate: Option<i64>,
}

impl Default for StudentConfig {
    fn default() -> Self {
        Self {
            layers: 2,
            init: StudentInit::First,
            train: StudentTrainConfig::default(),
            dropout: true,
            hidden: None,
            heads: None,
            intermediate: None,
        }
    }
}

/// Parts of the student that are trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StudentTrainConfig {
    /// Encoder layers that are trained: `all`, `none`, or the topmost ones (`top 1`). The others keep their initial values.
    pub layers: TrainedLayers,
    /// True if the embeddings are trained; by default, if all layers are.
    pub embeddings: Option<bool>,
}
