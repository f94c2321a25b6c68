//! The inputs and the output of a micro-batch within a step.

use nb_model::Packed;
use tch::Tensor;

use crate::step::schedule::StepPosition;
use crate::step::terms::Counts;

/// The measurements of a step besides its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telemetry {
    /// No further measurements.
    Terms,
    /// Norms of each model's gradient, the cosine between the student's and the teacher's gradients by layer, and the agreement
    /// of their predictions.
    Models,
}

/// The values that all micro-batches of a step have in common.
#[derive(Debug, Clone, Copy)]
pub struct StepContext {
    /// The step's position in the run.
    pub position: StepPosition,
    /// Units in all micro-batches of the step.
    pub counts: Counts,
    /// The measurements to take besides the terms.
    pub telemetry: Telemetry,
}

/// One micro-batch of a step.
#[derive(Debug)]
pub struct MicroBatch<'a, B> {
    /// The batch as the task read it.
    pub batch: &'a B,
    /// Its texts on the device.
    pub texts: &'a Packed,
    /// Its number among the micro-batches of the step, over all processes; the key of its random numbers.
    pub number: u64,
}

/// The result of a micro-batch; its gradients are in the arenas.
#[derive(Debug)]
pub struct MicroBatchOutput {
    /// The stage's terms, unweighted, in f64: \[terms\].
    pub terms: Tensor,
    /// Share of equal predictions and KL divergence of teacher and student, summed over rows, if measured: \[2\].
    pub agreement: Option<Tensor>,
}
