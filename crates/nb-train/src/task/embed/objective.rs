//! The micro-batch and the objective of embedding.

use nb_data::TokenBatch;
use nb_model::Packed;
use tch::{Device, Kind, Tensor};

use crate::step::Counts;
use crate::task::encode::pack;
use crate::task::{Objective, TextRef, VectorHead};

/// A micro-batch of texts.
#[derive(Debug, Clone, Default)]
pub struct EmbedBatch {
    /// The tokens of the texts.
    pub tokens: TokenBatch,
    /// The location of each text.
    pub texts: Vec<TextRef>,
}

/// Embedding as the training step sees it: texts without labels, and no row of logits.
///
/// ```
/// use nb_train::task::{EmbedBatch, EmbedObjective, Objective};
/// let objective = EmbedObjective { device: tch::Device::Cpu };
/// assert_eq!(objective.labels(&EmbedBatch::default()).size(), [0]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EmbedObjective {
    /// The device of the models.
    pub device: Device,
}

impl Objective for EmbedObjective {
    type Head = VectorHead;
    type Batch = EmbedBatch;

    fn counts(&self, batch: &EmbedBatch) -> Counts {
        Counts::of_batch(&batch.tokens, 0)
    }

    fn texts(&self, batch: &EmbedBatch) -> Vec<TextRef> {
        batch.texts.clone()
    }

    fn packed(&self, batch: &EmbedBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, _: &EmbedBatch) -> Tensor {
        Tensor::zeros([0], (Kind::Int64, self.device))
    }

    fn logits(&self, _: &VectorHead, _: &Tensor, _: &EmbedBatch) -> Tensor {
        Tensor::zeros([0, 1], (Kind::Float, self.device))
    }
}
