//! The outputs of a model's head.

use tch::Tensor;

/// The outputs of a model's head for a micro-batch.
#[derive(Debug)]
pub struct HeadOutputs {
    /// Pooled vectors [sequences, H].
    pub pooled: Tensor,
    /// The model's vectors, from which the logits follow ([`TaskHead::vectors`](crate::task::TaskHead::vectors)).
    pub vectors: Tensor,
    /// Logits [rows, classes or candidates].
    pub logits: Tensor,
}

impl HeadOutputs {
    /// Returns the vectors with length 1.
    pub(crate) fn units(&self) -> Tensor {
        nb_model::unit(&self.vectors)
    }
}
