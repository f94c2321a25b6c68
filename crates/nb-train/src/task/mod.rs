//! What a task is to the step, and what it is to a run. One file (or folder) each; adding one is that file and a line in
//! [`crate::run`].
//!
//! A task knows nothing of teachers, students or methods beyond the sharing of its top layers.

mod dot;
pub mod evaluation;
mod recommend;
mod retrieve;
pub mod texts;
mod topic;

use std::path::Path;

use anyhow::{Result, bail};
use nb_checkpoint::Description;
use nb_data::{TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Arena, AttentivePooling, Bert, POOLING_QUERY, Packed};
use nb_share::Shared;
use tch::{Device, Tensor};

use crate::method::Share;
use crate::model::Model;
use crate::step::terms::Counts;
use crate::task::evaluation::Evaluation;

pub use recommend::{
    Impressions, NewsVectors, RankBatch, Readers, Recommend, RecommendHead, Scores, clicked_first, evaluate_clicks,
    score_clicks,
};
pub use retrieve::{
    Asked, DEPTH, Documents, Hit, Judging, Queries, Retrieve, RetrieveBatch, RetrieveHead, TopHits, evaluate_hits,
};
pub use topic::{Split, Topic, TopicHead, evaluate_classes};

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
pub struct HeadPair<T> {
    /// The teacher's.
    pub teacher: T,
    /// The student's; shared parts are the same parameters.
    pub student: T,
}

/// The layers that stand on an encoder.
pub trait Layers {
    /// Their parameters, one arena per layer.
    fn arenas(&self) -> Vec<&Arena>;
}

/// What the step needs of a task: from a micro-batch of plain data to logits and the labels they are compared with.
pub trait Objective {
    /// The layers that stand on an encoder.
    type Head: Layers;
    /// A micro-batch as plain data.
    type Batch;

    /// What a micro-batch holds.
    fn counts(&self, batch: &Self::Batch) -> Counts;

    /// The texts of a micro-batch in their order, each as the number of its token store and its row there.
    fn texts(&self, batch: &Self::Batch) -> Vec<(usize, u32)>;

    /// The texts of a micro-batch on the device.
    fn packed(&self, batch: &Self::Batch) -> Packed;

    /// The labels of a micro-batch on the device, [`nb_loss::IGNORE`] where there is none.
    fn labels(&self, batch: &Self::Batch) -> Tensor;

    /// From last hidden states [n, H] to pooled vectors [sequences, H].
    fn pooled(&self, head: &Self::Head, states: &Tensor, packed: &Packed) -> Tensor;

    /// From pooled vectors [sequences, H] to logits [rows, classes or candidates].
    fn logits(&self, head: &Self::Head, pooled: &Tensor, batch: &Self::Batch) -> Tensor;
}

/// Hidden units of both encoders.
#[derive(Debug, Clone, Copy)]
pub struct Widths {
    /// Of the teacher.
    pub teacher: i64,
    /// Of the student.
    pub student: i64,
}

/// Which rows a model is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitName {
    /// Those that the best model is chosen by.
    Dev,
    /// Those that nothing is chosen by.
    Test,
}

impl SplitName {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// What a run needs of a task beside the step: batches by epoch, metrics, what belongs into a model folder.
pub trait Task: Objective {
    /// The task's name in configurations and reports.
    fn name(&self) -> &'static str;

    /// The metric that decides which model is the best; higher is better.
    fn primary_metric(&self) -> &'static str;

    /// Top layers for both encoders. Those that are not shared start out equal where the widths are.
    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<Self::Head>;

    /// Passes a model folder that was trained for this very task.
    ///
    /// # Errors
    /// If it was trained for another one, or for other labels.
    fn accept(&self, description: &Description) -> Result<()>;

    /// The token stores that training texts come from, in the order of [`Objective::texts`].
    fn stores(&self) -> Vec<&TokenStore>;

    /// The tokenizer of the texts.
    fn tokenizer(&self) -> &Tokenizer;

    /// The micro-batches of an epoch, as rows of the training data, a function of the seed and the epoch alone.
    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>>;

    /// Reads the rows of a micro-batch of an epoch.
    fn batch(&self, epoch: u64, rows: &[u32]) -> Self::Batch;

    /// What there is to train on, for people: a line each, name and value.
    fn describe(&self) -> Vec<(&'static str, String)>;

    /// What somebody who reads the result must know of the data, a sentence each.
    fn warnings(&self) -> Vec<String>;

    /// Metrics on one split of the data, and what became of each row. The processes share the work, and all have the result,
    /// which is that of one process to the bit.
    ///
    /// # Errors
    /// If there is no such split, if an output is not a number, or if a process is lost.
    fn evaluate(&self, model: &Model<Self::Head>, split: SplitName, processes: &ProcessGroup) -> Result<Evaluation>;

    /// Whether there are rows that nothing is chosen by.
    fn has_test(&self) -> bool;

    /// Inference as a user has it: texts in, results on the host.
    fn infer(&self, bert: &Bert, head: &Self::Head, batch: &TokenBatch);

    /// Development texts to time a model with.
    fn probe(&self) -> Vec<TokenBatch>;

    /// Writes what a model needs beside its encoder into its folder: tokenizer, top layers, labels, description.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn save(&self, head: &Self::Head, folder: &Path) -> Result<()>;
}

/// Attentive pooling for both models.
fn pooling(widths: Widths, share: Share, seed: u64, device: Device) -> Shared<AttentivePooling> {
    let make = |hidden| {
        move || {
            let mut pooling = AttentivePooling::zeros(hidden, POOLING_QUERY, device);
            pooling.randomise(seed);
            pooling
        }
    };
    Shared::from_each(share.pooling, make(widths.teacher), make(widths.student))
}

/// Passes a model folder of task `name`.
fn accept(name: &str, description: &Description) -> Result<()> {
    if description.task != name {
        bail!("it was trained for {}, expected {name}", description.task);
    }
    Ok(())
}
