//! The section `train` of a configuration: the optimisation.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Optimisation.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training texts.
    pub epochs: u64,
    /// Largest number of updates; unlimited by default.
    pub max_steps: Option<u64>,
    /// Sequences per micro-batch.
    pub batch: usize,
    /// Tokens per micro-batch, in place of `batch`.
    pub tokens: Option<usize>,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Peak learning rate of the student's encoder.
    pub lr: f64,
    /// Peak learning rate of the head; `lr` by default.
    pub head_lr: Option<f64>,
    /// Peak learning rate of the teacher's encoder; `lr` by default.
    pub teacher_lr: Option<f64>,
    /// Share of the steps over which the learning rate rises.
    pub warmup: f64,
    /// Fall of the learning rate after the warm-up.
    pub schedule: ScheduleChoice,
    /// Number of times that the learning rate falls from its peak.
    pub cycles: u64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; 0 for no limit.
    pub clip: f64,
    /// Interval between evaluations.
    pub eval_every: EvalEvery,
    /// Evaluations without a better metric after which the training stops early; never by default.
    pub patience: Option<u64>,
    /// Steps between two lines of `metrics.jsonl`.
    pub log_every: u64,
    /// Treatment of a loss or a gradient that is not finite.
    pub not_finite: NotFiniteChoice,
    /// True to recompute activations in the backward pass instead of storing them: less memory, longer steps, the same
    /// result.
    pub recompute: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 2,
            max_steps: None,
            batch: 32,
            tokens: None,
            accumulate: 1,
            lr: 1e-4,
            head_lr: None,
            teacher_lr: None,
            warmup: 0.1,
            schedule: ScheduleChoice::Linear,
            cycles: 1,
            weight_decay: 0.01,
            clip: 1.0,
            eval_every: EvalEvery::Epoch,
            patience: None,
            log_every: 10,
            not_finite: NotFiniteChoice::Stop,
            recompute: false,
        }
    }
}

/// Fall of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleChoice {
    /// In a straight line to zero
    #[default]
    Linear,
    /// Along half a cosine to zero
    Cosine,
    /// It stays at its peak
    Constant,
}

/// Treatment of a loss or a gradient that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotFiniteChoice {
    /// End the run with an error
    #[default]
    Stop,
    /// Skip the update and count it
    Skip,
}

/// Interval between evaluations: `epoch`, or a number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalEvery {
    /// After each epoch.
    Epoch,
    /// After this many steps, and at the end.
    Steps(u64),
}

impl<'de> Deserialize<'de> for EvalEvery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Every;
        impl Visitor<'_> for Every {
            type Value = EvalEvery;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`epoch` or a number of steps of at least 1")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<EvalEvery, E> {
                match n {
                    0 => Err(E::invalid_value(Unexpected::Unsigned(0), &self)),
                    n => Ok(EvalEvery::Steps(n)),
                }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<EvalEvery, E> {
                match text {
                    "epoch" => Ok(EvalEvery::Epoch),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Every)
    }
}

impl Serialize for EvalEvery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Epoch => serializer.serialize_str("epoch"),
            Self::Steps(n) => serializer.serialize_u64(*n),
        }
    }
}
