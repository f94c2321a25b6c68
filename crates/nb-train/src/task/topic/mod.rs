//! Topic classification: one text, one label out of C, or any number of them.
//!
//! Head: attentive pooling h over the last hidden states, and a dense layer z = D h + d. The probabilities are a softmax of z, or a
//! sigmoid for each label.

mod class_weights;
mod evaluate;
mod objective;
mod open;
mod plan;
mod split;
mod warnings;

use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{Description, LabelKind, SavedClassifier};
use nb_data::batch::{cut, order};
use nb_data::{BatchSize, Labels, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_loss::IGNORE;
use nb_model::{Bert, Capture, Dense, Pass};
use nb_rank::Measurements;
use nb_share::Shared;
use tch::{Device, Kind, Tensor};

use self::evaluate::{Prediction, evaluate_predictions, evaluate_probabilities};
use self::split::log_odds;
use self::warnings::warnings;
use super::encode::{NOT_FINITE, compute_rows, pack, timing_batches};
use super::texts::tokens_of;
use super::{
    ClassifierHead, HasObjective, HeadPair, SplitName, Task, TaskHead, TextRef, Widths, check_head, check_task,
    pooling_pair,
};
use crate::method::Share;
use crate::model::{CardLabels, HeadLayers, Model, ModelCard, save_head};
use crate::plan::{Plan, TaskKind};

pub use objective::{TopicBatch, TopicHead, TopicObjective};
pub use plan::{TopicKind, TopicPlan};
pub use split::TopicSplit;

/// The number of the token store of training texts.
const TRAIN_STORE: usize = 0;
/// The number of the token store of texts without labels.
const UNLABELLED_STORE: usize = 1;

/// Topic classification with its data.
#[derive(Debug)]
pub struct Topic {
    objective: TopicObjective,
    train: TopicSplit,
    dev: TopicSplit,
    test: Option<TopicSplit>,
    /// Texts without labels. Their rows are numbered after those of the training texts.
    unlabelled: Option<TokenStore>,
    labels: Labels,
    /// The labels that have a column of their own, in which they may be without a row.
    flags: Vec<String>,
    /// The weight of each class in the hard loss, unless all rows count the same.
    class_weights: Option<Vec<f64>>,
    tokenizer: Tokenizer,
    card: ModelCard,
    batch: BatchSize,
    seed: u64,
}

impl Topic {
    /// Returns the location of a training row.
    fn text(&self, row: u32) -> TextRef {
        let labelled = self.train.store.len() as u32;
        match row.checked_sub(labelled) {
            None => TextRef { store: TRAIN_STORE, row },
            Some(row) => TextRef { store: UNLABELLED_STORE, row },
        }
    }

    fn store(&self, number: usize) -> &TokenStore {
        self.unlabelled.as_ref().filter(|_| number == UNLABELLED_STORE).unwrap_or(&self.train.store)
    }

    /// Adds the entries of a training text to the labels of a micro-batch ([`TopicBatch::labels`]).
    fn add_labels(&self, text: TextRef, all: &mut Vec<i64>) {
        let labels = (text.store == TRAIN_STORE).then(|| self.train.labels.of(text.row as usize));
        match (self.objective.label_kind, labels) {
            (LabelKind::Single, labels) => {
                all.push(labels.and_then(<[usize]>::first).map_or(IGNORE, |&label| label as i64));
            }
            (LabelKind::Multi, None) => all.resize(all.len() + self.labels.len(), IGNORE),
            (LabelKind::Multi, Some(labels)) => {
                let start = all.len();
                all.resize(start + self.labels.len(), 0);
                labels.iter().for_each(|&label| all[start + label] = 1);
            }
        }
    }

    /// Computes the class probabilities of texts on the CPU: [B, C].
    fn probabilities(&self, bert: &Bert, head: &TopicHead, batch: &TokenBatch) -> Result<Tensor> {
        let packed = pack(batch, self.objective.device);
        let logits = tch::no_grad(|| {
            let encoded = bert.encode(&packed, Pass::Inference, Capture::Last);
            head.forward(encoded.last(), &packed).to_device(Device::Cpu)
        });
        if logits.isfinite().all().int64_value(&[]) == 0 {
            bail!("{NOT_FINITE}");
        }
        Ok(match self.objective.label_kind {
            LabelKind::Single => logits.softmax(-1, Kind::Float),
            LabelKind::Multi => logits.to_kind(Kind::Float).sigmoid(),
        })
    }

    /// Predicts the class of each row of a split that has a label.
    fn predict(
        &self,
        model: &Model<TopicHead>,
        split: &TopicSplit,
        processes: &ProcessGroup,
    ) -> Result<Vec<Prediction>> {
        let numbers = compute_rows(&split.store, &split.rows, 2, processes, |batch| {
            let (probability, class) = self.probabilities(&model.bert, &model.head, batch)?.max_dim(-1, false);
            let pairs = Tensor::stack(&[class.to_kind(Kind::Float), probability], 1);
            Ok(Vec::try_from(pairs.view(-1))?)
        })?;
        let mut predictions = Vec::with_capacity(split.rows.len());
        for (&row, numbers) in split.rows.iter().zip(numbers.chunks_exact(2)) {
            if let &[label, ..] = split.labels.of(row as usize) {
                predictions.push(Prediction { row, label, class: numbers[0] as usize, probability: numbers[1] });
            }
        }
        Ok(predictions)
    }
}

impl Topic {
    /// Describes how many labels the training texts have.
    fn describe_label_counts(&self) -> String {
        let counts = || self.train.rows.iter().map(|&row| self.train.labels.of(row as usize).len());
        let mean = counts().sum::<usize>() as f64 / self.train.rows.len() as f64;
        format!(" ({mean:.2} per text, {} texts with none)", counts().filter(|&count| count == 0).count())
    }
}

impl HasObjective for Topic {
    type Objective = TopicObjective;

    fn objective(&self) -> &TopicObjective {
        &self.objective
    }
}

impl Task for Topic {
    type Plan = TopicPlan;

    const KIND: &'static dyn TaskKind = &TopicKind;

    fn open(plan: &Plan, task_plan: &TopicPlan) -> Result<Self> {
        Self::open_files(plan, task_plan)
    }

    fn head_layers(_: &Path, hidden: i64, description: &Description, device: Device) -> Result<HeadLayers> {
        Ok(HeadLayers::Dense(Dense::zeros(hidden, description.labels.len() as i64, device)))
    }

    fn primary_metric(&self) -> &'static str {
        match self.objective.label_kind {
            LabelKind::Single => "accuracy",
            LabelKind::Multi => "micro_f1",
        }
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<TopicHead> {
        let pooling = pooling_pair(self.card.head.pooling, widths, share, seed, device);
        let random = |hidden| {
            let mut dense = Dense::zeros(hidden, self.labels.len() as i64, device);
            dense.randomise(seed.wrapping_add(1)); // different random numbers from the pooling's
            if self.objective.label_kind == LabelKind::Multi {
                dense.set_bias(&log_odds(&self.train, self.labels.len(), self.class_weights.as_deref()));
            }
            dense
        };
        let dense = Shared::from_each(share.dense, || random(widths.teacher), || random(widths.student));
        HeadPair {
            teacher: TopicHead { pooling: pooling.teacher, transform: None, dense: dense.teacher },
            student: TopicHead { pooling: pooling.student, transform: None, dense: dense.student },
        }
    }

    fn classifier_head(
        &self,
        classifier: &SavedClassifier,
        hidden: i64,
        device: Device,
    ) -> Result<ClassifierHead<TopicHead>> {
        let [found, expected] = [classifier.label_kind(), self.objective.label_kind].map(LabelKind::problem_type);
        if found != expected {
            bail!(
                "its classifier is for {found}, and the training rows are for {expected}; correct `problem_type` in its \
                 config.json, or set teacher.train.epochs to train a new head first"
            );
        }
        let number = |label: &String| classifier.labels().iter().position(|known| known == label);
        let order: Option<Vec<usize>> = self.labels.names().iter().map(number).collect();
        match order.filter(|order| order.len() == classifier.labels().len()) {
            Some(order) => {
                let head = TopicHead::classifier(classifier.form().activation, hidden, order.len() as i64, device);
                Ok(ClassifierHead { head, order })
            }
            None => bail!(
                "the labels of its classifier are {}, expected those of the training rows: {}; correct `id2label` in its \
                 config.json, or set teacher.train.epochs to train a new head first",
                classifier.labels().join(", "),
                self.labels.names().join(", ")
            ),
        }
    }

    fn check_description(&self, description: &Description) -> Result<()> {
        check_task(self.name(), description)?;
        let [found, expected] = [description.label_kind(), self.objective.label_kind].map(LabelKind::problem_type);
        if found != expected {
            bail!("it was trained for {found}, expected {expected}");
        }
        if description.labels != self.labels.names() {
            bail!(
                "its labels are {}, expected those of the training rows: {}",
                description.labels.join(", "),
                self.labels.names().join(", ")
            );
        }
        check_head(&description.head, &self.card.head)?;
        Ok(())
    }

    fn stores(&self) -> Vec<&TokenStore> {
        std::iter::once(&*self.train.store).chain(&self.unlabelled).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let labelled = self.train.store.len() as u32;
        let mut all = self.train.rows.clone();
        if let Some(unlabelled) = &self.unlabelled {
            all.extend((0..unlabelled.len() as u32).map(|row| labelled + row));
        }
        let rows: Vec<u32> = order(all.len(), self.seed, epoch).into_iter().map(|i| all[i as usize]).collect();
        let length = |row| {
            let text = self.text(row);
            self.store(text.store).length(text.row as usize)
        };
        cut(&rows, length, self.batch)
    }

    fn batch(&self, _: u64, rows: &[u32]) -> TopicBatch {
        let texts: Vec<TextRef> = rows.iter().map(|&row| self.text(row)).collect();
        let tokens = tokens_of(&texts, |number| self.store(number));
        let mut labels = Vec::new();
        texts.iter().for_each(|&text| self.add_labels(text, &mut labels));
        TopicBatch { tokens, labels, texts }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let lengths = self.train.rows.iter().map(|&row| self.train.store.length(row as usize) as u64);
        let mut texts = format!(
            "{} for training ({} tokens per epoch), {} for development, {} labels",
            self.train.rows.len(),
            lengths.sum::<u64>(),
            self.dev.rows.len(),
            self.labels.len()
        );
        if self.objective.label_kind == LabelKind::Multi {
            texts += &self.describe_label_counts();
        }
        if let Some(unlabelled) = &self.unlabelled {
            texts += &format!(", {} without a label", unlabelled.len());
        }
        if let Some(test) = &self.test {
            texts += &format!(", {} for testing", test.rows.len());
        }
        let weights = self.class_weights.as_ref().map(|weights| class_weights::describe(weights, &self.labels));
        std::iter::once(("texts", texts)).chain(weights.map(|weights| ("class weights", weights))).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let absent = self.flags.iter().filter(|flag| self.labels.index_of(flag).is_none());
        let absent = absent.map(|flag| format!("label {flag} has no training row, so the models do not know it"));
        absent.chain(warnings(&self.train, &self.dev, self.test.as_ref(), &self.labels)).collect()
    }

    fn has_test(&self) -> bool {
        self.test.is_some()
    }

    fn evaluate(
        &self,
        model: &Model<TopicHead>,
        split: SplitName,
        thresholds: &[f64],
        processes: &ProcessGroup,
    ) -> Result<Measurements> {
        let split = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("data.test is not set")?,
        };
        if self.objective.label_kind == LabelKind::Multi {
            let labels = self.labels.len();
            let probabilities = compute_rows(&split.store, &split.rows, labels, processes, |batch| {
                Ok(Vec::try_from(self.probabilities(&model.bert, &model.head, batch)?.view(-1))?)
            })?;
            return evaluate_probabilities(split, &probabilities, labels, thresholds);
        }
        let names = [self.labels.names(), &split.unknown].concat();
        evaluate_predictions(self.predict(model, split, processes)?, names)
    }

    fn infer(&self, bert: &Bert, head: &TopicHead, batch: &TokenBatch) {
        // As in use, up to the class on the host.
        let best = self.probabilities(bert, head, batch).map(|probabilities| probabilities.max_dim(-1, false));
        let _ = std::hint::black_box(best);
    }

    fn timing_batches(&self) -> Vec<TokenBatch> {
        timing_batches(&self.dev.store, self.dev.rows.clone())
    }

    fn save(&self, head: &TopicHead, thresholds: &[f64], folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        let names = self.labels.names();
        let undecided = vec![0.5; names.len()];
        let thresholds = match self.objective.label_kind {
            LabelKind::Single => &[],
            LabelKind::Multi if thresholds.is_empty() => undecided.as_slice(),
            LabelKind::Multi => thresholds,
        };
        self.card.write(folder, CardLabels { names, thresholds }, &self.tokenizer)
    }
}
