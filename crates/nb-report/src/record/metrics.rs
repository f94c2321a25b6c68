//! `metrics.jsonl`: one JSON object per line, with its type in `event`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{numbers, or_default};
use super::{Cost, Evaluation, Named};

/// A line of `metrics.jsonl`. A number that is not finite is written as null and read as absent.
///
/// ```
/// use nb_report::record::{EvalLine, Line};
///
/// let line = Line::Eval(Box::new(EvalLine { step: Some(4), epoch: Some(0), ..EvalLine::default() }));
/// assert_eq!(serde_json::to_string(&line)?, r#"{"event":"eval","step":4,"epoch":0}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Line {
    /// A training step that was logged.
    #[serde(rename = "step")]
    Step(Box<StepLine>),
    /// An evaluation on the development data.
    #[serde(rename = "eval")]
    Eval(Box<EvalLine>),
}

impl Line {
    /// Reads a line from its JSON; `None` for an event of another version.
    pub(super) fn read(line: Value) -> Option<Self> {
        Self::deserialize(line).ok()
    }

    /// Returns the step of the line.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        match self {
            Self::Step(line) => line.step,
            Self::Eval(line) => line.step,
        }
    }
}

/// A training step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepLine {
    /// The step, from 1.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The epoch, from 0.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The stage of the method, from 0.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub stage: Option<u64>,
    /// The weighted sum of the terms.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Each term of the stage, unweighted.
    #[serde(deserialize_with = "or_default")]
    pub terms: Named<f64>,
    /// The weight of each term.
    #[serde(deserialize_with = "or_default")]
    pub weights: Named<f64>,
    /// Temperature of the soft terms, if the method has any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Share of the teacher's gradients in the student's, if the method blends them.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Norm of the gradient of all parameters after blending, before clipping.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Norm of the gradient of each encoder (`teacher`, `student`) before blending.
    #[serde(deserialize_with = "or_default")]
    pub gradient_norms: Named<f64>,
    /// For each student layer, the cosine between its gradient and the gradient blended in, if both were measured.
    #[serde(deserialize_with = "numbers", skip_serializing_if = "Option::is_none")]
    pub momentum_cosine: Option<Vec<Option<f64>>>,
    /// Agreement of teacher and student on the batch, if it was measured.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Learning rate of the student's encoder.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Learning rate of the heads.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub head_lr: Option<f64>,
    /// Learning rate of the teacher's encoder.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub teacher_lr: Option<f64>,
    /// Training rows per second, excluding the first steps.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub samples_per_second: Option<f64>,
    /// Encoded sequences per second, excluding the first steps.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub sequences_per_second: Option<f64>,
    /// Real tokens per second, excluding the first steps.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Number of rows in the step.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub samples: Option<i64>,
}

/// Agreement of teacher and student on a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agreement {
    /// Share of rows for which both models predict the same.
    #[serde(deserialize_with = "or_default")]
    pub equal: Option<f64>,
    /// Mean KL divergence of the student's distribution from the teacher's distribution at temperature 1.
    #[serde(deserialize_with = "or_default")]
    pub kl: Option<f64>,
}

/// An evaluation of the models during training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvalLine {
    /// The step after which the models were evaluated.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The epoch, from 0.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The teacher, if it is trained.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Evaluation>,
    /// The student, if there is one.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub student: Option<Evaluation>,
    /// Cost of the run's own training up to this evaluation.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}
