//! The part of a task that the training step sees: from a micro-batch of plain data to logits and labels.

use nb_checkpoint::LabelKind;
use nb_model::{Arena, Packed, Pooling};
use tch::Tensor;

use crate::step::Counts;

/// The layers on top of an encoder.
pub trait TaskHead {
    /// Pooling from last hidden states to pooled vectors.
    fn pooling(&self) -> &Pooling;

    /// Maps pooled vectors [texts, H] to the model's vectors, from which logits follow: projected and of length 1 if the
    /// head does so, else unchanged.
    fn vectors(&self, pooled: &Tensor) -> Tensor {
        pooled.shallow_clone()
    }

    /// Returns the width of the model's vectors for an encoder of `hidden` units.
    fn width(&self, hidden: i64) -> i64 {
        hidden
    }

    /// The parameters, one arena per layer.
    fn arenas(&self) -> Vec<&Arena>;

    /// The parameters from states to the model's vectors.
    fn vector_arenas(&self) -> Vec<&Arena> {
        self.arenas()
    }
}

/// The location of a text in the token stores of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRef {
    /// The number of the token store ([`Task::stores`](super::Task::stores)).
    pub store: usize,
    /// The row in the store.
    pub row: u32,
}

/// The computations that the training step needs from a task. They depend on the batch and the head alone, so an objective
/// can be made without any data.
pub trait Objective {
    /// The layers on top of an encoder.
    type Head: TaskHead;
    /// A micro-batch as plain data.
    type Batch;

    /// Counts the units of a micro-batch.
    fn counts(&self, batch: &Self::Batch) -> Counts;

    /// Returns the texts of a micro-batch in their order.
    fn texts(&self, batch: &Self::Batch) -> Vec<TextRef>;

    /// Copies the texts of a micro-batch to the device.
    fn packed(&self, batch: &Self::Batch) -> Packed;

    /// Returns whether a row has one label or any number, which decides how logits become probabilities.
    fn label_kind(&self) -> LabelKind {
        LabelKind::Single
    }

    /// Copies the labels of a micro-batch to the device. One label per row: \[rows\] i64, the class. Any number: [rows, C] f32, 1 where
    /// a label applies, else 0. All entries of an unlabelled row are [`nb_loss::IGNORE`].
    fn labels(&self, batch: &Self::Batch) -> Tensor;

    /// Returns the weight of each class in the hard loss, \[C\] on the device; `None` if all rows count the same. Where a row has any
    /// number of labels, it is the weight of the rows that have the label.
    fn class_weights(&self) -> Option<&Tensor> {
        None
    }

    /// Pools last hidden states [n, H] into vectors [texts, H]; of a text with several windows, their mean.
    fn pooled(&self, head: &Self::Head, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling().texts(states, packed)
    }

    /// Computes logits [rows, classes or candidates] from the model's vectors [texts, H] ([`TaskHead::vectors`]).
    fn logits(&self, head: &Self::Head, vectors: &Tensor, batch: &Self::Batch) -> Tensor;
}

/// A type that holds an objective. It implements [`Objective`] by delegation to that objective.
pub trait HasObjective {
    /// The type of the objective.
    type Objective: Objective;

    /// Returns the objective.
    fn objective(&self) -> &Self::Objective;
}

impl<T: HasObjective> Objective for T {
    type Head = <T::Objective as Objective>::Head;
    type Batch = <T::Objective as Objective>::Batch;

    fn counts(&self, batch: &Self::Batch) -> Counts {
        self.objective().counts(batch)
    }

    fn texts(&self, batch: &Self::Batch) -> Vec<TextRef> {
        self.objective().texts(batch)
    }

    fn packed(&self, batch: &Self::Batch) -> Packed {
        self.objective().packed(batch)
    }

    fn label_kind(&self) -> LabelKind {
        self.objective().label_kind()
    }

    fn labels(&self, batch: &Self::Batch) -> Tensor {
        self.objective().labels(batch)
    }

    fn class_weights(&self) -> Option<&Tensor> {
        self.objective().class_weights()
    }

    fn pooled(&self, head: &Self::Head, states: &Tensor, packed: &Packed) -> Tensor {
        self.objective().pooled(head, states, packed)
    }

    fn logits(&self, head: &Self::Head, vectors: &Tensor, batch: &Self::Batch) -> Tensor {
        self.objective().logits(head, vectors, batch)
    }
}
