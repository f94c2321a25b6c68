//! The outputs of a model's head.

use tch::Tensor;

/// The outputs of a model's head for a micro-batch.
#[derive(Debug)]
pub struct HeadOutputs {
    /// Pooled vectors [sequences, H].
    pub pooled: Tensor,
    /// Logits [rows, classes or candidates].
    pub logits: Tensor,
}
