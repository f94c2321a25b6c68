//! The tasks: topic classification, recommendation, retrieval and embedding, a folder each. To add one, add its folder and its name in
//! `list.rs`.
//!
//! A task consists of an [`Objective`], which the training step sees, and a [`Task`], which adds the data. It does
//! not depend on teachers, students or methods, except for the sharing of its head.

mod distinct;
mod embed;
pub(crate) mod encode;
mod list;
mod model_vectors;
mod objective;
mod recommend;
mod retrieve;
mod texts;
mod topic;
mod unlabelled;
mod vector_head;

use std::path::Path;

use anyhow::{Result, bail};
use nb_checkpoint::{HeadDescription, SavedClassifier};
use nb_data::{TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Bert, Pooling, PoolingKind};
pub use nb_rank::{Count, Measurements, Metric, Part};
use nb_share::Shared;

pub use self::embed::{Embed, EmbedBatch, EmbedKind, EmbedObjective, EmbedPlan, RankingFiles, RankingFolder};
#[doc(hidden)]
pub use self::list::refuse_task;
pub use self::list::{AllTasks, TaskList, TaskVisitor};
pub use self::objective::{HasObjective, Objective, TaskHead, TextRef};
pub use self::recommend::{
    ClickLog, ImpressionSplit, ReaderModel, ReaderTable, Recommend, RecommendBatch, RecommendHead, RecommendKind,
    RecommendObjective, RecommendPlan,
};
pub use self::retrieve::{
    QuerySplit, Retrieve, RetrieveBatch, RetrieveHead, RetrieveKind, RetrieveObjective, RetrievePlan,
};
pub use self::topic::{Topic, TopicBatch, TopicHead, TopicKind, TopicObjective, TopicPlan, TopicSplit};
pub use self::vector_head::VectorHead;
use crate::method::Share;
use crate::model::{HeadLayers, Model};
use crate::plan::{Plan, TaskKind, TaskPlan};
#[doc(hidden)]
pub use {nb_checkpoint::Description, tch::Device};

/// The heads of teacher and student.
#[derive(Debug)]
pub struct HeadPair<T> {
    /// The teacher's head.
    pub teacher: T,
    /// The student's head. Shared layers are the teacher's parameters.
    pub student: T,
}

/// The head for a classifier that was fine-tuned elsewhere, before its parameters are read.
#[derive(Debug)]
pub struct ClassifierHead<T> {
    /// The head; its parameters are zeros.
    pub head: T,
    /// The classifier's number of each class of the task.
    pub order: Vec<usize>,
}

/// Widths of both models.
#[derive(Debug, Clone, Copy)]
pub struct Widths {
    /// Hidden units of the teacher's encoder.
    pub teacher: i64,
    /// Hidden units of the student's encoder.
    pub student: i64,
    /// Width of the student's vectors, if the task's heads end in vectors. Where it differs from the student's hidden units,
    /// a projection follows the pooling.
    pub vectors: i64,
}

impl Widths {
    /// Returns the widths of two models of `hidden` units.
    pub fn equal(hidden: i64) -> Self {
        Self { teacher: hidden, student: hidden, vectors: hidden }
    }
}

/// The rows that a model is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitName {
    /// Development rows, used for model selection.
    Dev,
    /// Held-out rows, never used for model selection.
    Test,
}

impl SplitName {
    /// Returns the name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// A task with its data: the batches of each epoch, metrics, and the files of a saved model.
pub trait Task: Objective + Sized {
    /// The task's part of a plan.
    type Plan: TaskPlan;

    /// The task as configurations name it.
    const KIND: &'static dyn TaskKind;

    /// Opens the data of a plan, whose part for this task is `task_plan`.
    ///
    /// # Errors
    /// If a file cannot be used.
    fn open(plan: &Plan, task_plan: &Self::Plan) -> Result<Self>;

    /// Makes the layers of the head that a model folder describes. The caller fills them from the folder's file.
    ///
    /// # Errors
    /// If the description is invalid.
    fn head_layers(folder: &Path, hidden: i64, description: &Description, device: Device) -> Result<HeadLayers>;

    /// Returns the name in configurations and reports.
    fn name(&self) -> &'static str {
        Self::KIND.name()
    }

    /// Returns the name of the metric that selects the best model; higher is better.
    fn primary_metric(&self) -> &'static str;

    /// Makes heads for both encoders. Layers that are not shared start equal where the widths are equal.
    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<Self::Head>;

    /// Makes the head with which a model of `hidden` units is measured before any training: one without parameters to train.
    /// `None` if the task needs a trained head.
    fn untouched_head(&self, _hidden: i64) -> Option<Self::Head> {
        None
    }

    /// Makes the head for the classifier of a model that was fine-tuned elsewhere, with an encoder of `hidden` units.
    ///
    /// # Errors
    /// If the task has no classes, or other ones.
    fn classifier_head(
        &self,
        _classifier: &SavedClassifier,
        _hidden: i64,
        _device: Device,
    ) -> Result<ClassifierHead<Self::Head>> {
        bail!("the folder contains a classifier, and task: {} has no classes", self.name())
    }

    /// Checks that a saved model fits this task.
    ///
    /// # Errors
    /// If the model was trained for another task, or for other labels.
    fn check_description(&self, description: &Description) -> Result<()>;

    /// Returns the token stores of the training texts, in the order of [`TextRef::store`].
    fn stores(&self) -> Vec<&TokenStore>;

    /// Returns the tokenizer of the texts.
    fn tokenizer(&self) -> &Tokenizer;

    /// Returns the micro-batches of an epoch as rows of the training data. They depend on the seed and the epoch alone.
    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>>;

    /// Reads the rows of a micro-batch of an epoch.
    fn batch(&self, epoch: u64, rows: &[u32]) -> Self::Batch;

    /// Describes the training data in human-readable lines, each a name and a value.
    fn describe(&self) -> Vec<(&'static str, String)>;

    /// Returns warnings about the data for readers of the results, one sentence each.
    fn warnings(&self) -> Vec<String>;

    /// Measures a model on one split of the data. `thresholds` are those of the labels by which the task decides
    /// ([`Measurements::thresholds`]); if there are none, it chooses those that are best on these rows. The processes share the work,
    /// and all of them get the result. It is bit-identical to the result of a single process.
    ///
    /// # Errors
    /// If there is no such split, if an output is not finite, or if a process is lost.
    fn evaluate(
        &self,
        model: &Model<Self::Head>,
        split: SplitName,
        thresholds: &[f64],
        processes: &ProcessGroup,
    ) -> Result<Measurements>;

    /// Returns true if there are held-out rows.
    fn has_test(&self) -> bool;

    /// Runs inference as a user does, from texts to results on the host, and discards the results.
    fn infer(&self, bert: &Bert, head: &Self::Head, batch: &TokenBatch);

    /// Returns batches of development texts to time a model with.
    fn timing_batches(&self) -> Vec<TokenBatch>;

    /// Writes a model's files beside its encoder: head, tokenizer, labels and description. `thresholds` are those of the labels, if
    /// they were chosen.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn save(&self, head: &Self::Head, thresholds: &[f64], folder: &Path) -> Result<()>;
}

/// Makes the pooling of both models.
fn pooling_pair(kind: PoolingKind, widths: Widths, share: Share, seed: u64, device: Device) -> Shared<Pooling> {
    let random = |hidden| {
        let mut pooling = Pooling::zeros(kind, hidden, device);
        pooling.randomise(seed);
        pooling
    };
    Shared::from_each(share.pooling, || random(widths.teacher), || random(widths.student))
}

/// Checks that a saved model has the configured head.
fn check_head(found: &HeadDescription, expected: &HeadDescription) -> Result<()> {
    let show = |head: &HeadDescription| {
        let HeadDescription { pooling, score, reader, .. } = head;
        format!("{} pooling, {} scores and a reader of {} pooling", pooling.name(), score.name(), reader.name())
    };
    let kinds = |head: &HeadDescription| (head.pooling, head.score, head.reader);
    if kinds(found) != kinds(expected) {
        bail!("its head has {}, expected {}, as in the configuration", show(found), show(expected));
    }
    Ok(())
}

/// Checks that a saved model was trained for the task with this name.
fn check_task(name: &str, description: &Description) -> Result<()> {
    if description.task != name {
        bail!("it was trained for {}, expected {name}", description.task);
    }
    Ok(())
}
