//! What a task is to the step, the loop and the evaluation. One file each; adding one is a file and a line here.
//!
//! A task knows nothing of teachers, students or methods beyond the sharing of its top layers.

mod topic;

use std::path::Path;

use anyhow::Result;
use nb_model::{Arena, Bert, Packed};
use tch::{Device, Tensor};

use crate::method::Share;
use crate::terms::Counts;

pub use topic::{Split, Topic, TopicTop};

/// What a model makes of a micro-batch.
#[derive(Debug)]
pub struct Outputs {
    /// Pooled vectors [sequences, H].
    pub pooled: Tensor,
    /// Logits [rows, classes or candidates].
    pub logits: Tensor,
}

/// The top layers of teacher and student, and the parameters among them, each once.
#[derive(Debug)]
pub struct Tops<T> {
    /// The teacher's.
    pub teacher: T,
    /// The student's; shared parts are the same parameters.
    pub student: T,
}

/// Metrics by name, in the order of reports.
pub type Metrics = Vec<(&'static str, f64)>;

/// A task: its data, its top layers, its metrics.
pub trait Task {
    /// The layers that stand on an encoder.
    type Top;
    /// A micro-batch as plain data.
    type Batch;

    /// The task's name in configurations and reports.
    fn name(&self) -> &'static str;

    /// The metric that decides which model is the best; higher is better.
    fn primary_metric(&self) -> &'static str;

    /// Top layers for encoders of `hidden` units. Those that are not shared start out equal.
    fn tops(&self, hidden: i64, share: Share, seed: u64, device: Device) -> Tops<Self::Top>;

    /// The parameters of a top, one arena per layer.
    fn arenas<'a>(&self, top: &'a Self::Top) -> Vec<&'a Arena>;

    /// The micro-batches of an epoch, as rows of the training data, a function of the seed and the epoch alone.
    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>>;

    /// Reads the rows of a micro-batch.
    fn batch(&self, rows: &[u32]) -> Self::Batch;

    /// What a micro-batch holds.
    fn counts(&self, batch: &Self::Batch) -> Counts;

    /// The texts of a micro-batch on the device.
    fn packed(&self, batch: &Self::Batch) -> Packed;

    /// The labels of a micro-batch on the device, [`nb_loss::IGNORE`] where there is none.
    fn labels(&self, batch: &Self::Batch) -> Tensor;

    /// From last hidden states to pooled vectors and logits.
    fn outputs(&self, top: &Self::Top, states: &Tensor, packed: &Packed, batch: &Self::Batch) -> Outputs;

    /// Metrics on the development data.
    ///
    /// # Errors
    /// If an output is not a number.
    fn evaluate(&self, bert: &Bert, top: &Self::Top) -> Result<Metrics>;

    /// Inference as a user has it: texts in, results on the host.
    fn infer(&self, bert: &Bert, top: &Self::Top, batch: &nb_data::TokenBatch);

    /// Development texts to time a model with.
    fn probe(&self) -> Vec<nb_data::TokenBatch>;

    /// Writes what a model needs beside its encoder into its folder: tokenizer, top layers, labels, description.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn save(&self, top: &Self::Top, folder: &Path) -> Result<()>;
}
