//! Topic classification: one text, one label out of C.
//!
//! Top layers: attentive pooling h over the last hidden states, and a dense layer z = D h + d.

mod open;
mod warnings;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_checkpoint::Description;
use nb_data::batch::{cut, order};
use nb_data::{BatchSize, Labels, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_eval::Confusion;
use nb_loss::IGNORE;
use nb_model::{Arena, AttentivePooling, Bert, Capture, Dense, POOLING_QUERY, Packed, Pass};
use nb_share::Shared;
use tch::{Device, Kind, Tensor};
use warnings::warnings;

use super::texts::{NOT_NUMBERS, numbers, pack, probe};
use super::{HeadPair, Layers, Objective, SplitName, Task, Widths, accept, pooling};
use crate::method::Share;
use crate::model::Model;
use crate::model::saved_folder::{Card, save_head};
use crate::step::terms::Counts;
use crate::task::evaluation::{Classes, Evaluation, Metric, Outcomes};

/// Rows of a token store, with the number of each row's label.
#[derive(Debug)]
pub struct Split {
    /// The texts.
    pub store: Rc<TokenStore>,
    /// The rows of the store that belong to the split.
    pub rows: Vec<u32>,
    /// By row of the store.
    pub labels: Vec<Option<usize>>,
}

/// Topic classification on a training and a development split.
#[derive(Debug)]
pub struct Topic {
    pub(crate) train: Split,
    pub(crate) dev: Split,
    pub(crate) test: Option<Split>,
    /// Texts without labels; their rows are numbered behind those of the training texts.
    pub(crate) unlabelled: Option<TokenStore>,
    pub(crate) labels: Labels,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) card: Card,
    pub(crate) batch: BatchSize,
    pub(crate) seed: u64,
    pub(crate) device: Device,
}

/// Pooling and dense layer of one model; either may be the other model's too.
#[derive(Debug)]
pub struct TopicHead {
    /// Attentive pooling.
    pub pooling: Rc<AttentivePooling>,
    /// The dense layer.
    pub dense: Rc<Dense>,
}

impl Layers for TopicHead {
    fn arenas(&self) -> Vec<&Arena> {
        vec![self.pooling.arena(), self.dense.arena()]
    }
}

impl TopicHead {
    /// From last hidden states [n, H] to logits [B, C].
    pub fn forward(&self, states: &Tensor, packed: &Packed) -> Tensor {
        self.dense.forward(&self.pooling.forward(states, packed.segments()))
    }

    /// Top layers for `hidden` units and `classes` labels, as zeros.
    pub fn zeros(hidden: i64, classes: i64, device: Device) -> Self {
        Self {
            pooling: Rc::new(AttentivePooling::zeros(hidden, POOLING_QUERY, device)),
            dense: Rc::new(Dense::zeros(hidden, classes, device)),
        }
    }
}

impl Topic {
    /// The store and the row there of a training row.
    fn text(&self, row: u32) -> (usize, u32) {
        let labelled = self.train.store.len() as u32;
        if row < labelled { (0, row) } else { (1, row - labelled) }
    }

    fn store(&self, number: usize) -> &TokenStore {
        self.unlabelled.as_ref().filter(|_| number == 1).unwrap_or(&self.train.store)
    }

    fn label(&self, (store, row): (usize, u32)) -> i64 {
        let label = self.train.labels.get(row as usize).filter(|_| store == 0).copied().flatten();
        label.map_or(IGNORE, |label| label as i64)
    }

    /// The most probable class of each text, and its probability.
    fn predict(&self, bert: &Bert, head: &TopicHead, batch: &TokenBatch) -> Result<(Vec<i64>, Vec<f32>)> {
        let packed = pack(batch, self.device);
        let logits = tch::no_grad(|| {
            let states = bert.encode(&packed, Pass::Inference, Capture::Last);
            head.forward(states.last(), &packed).to_device(Device::Cpu)
        });
        if logits.isfinite().all().int64_value(&[]) == 0 {
            bail!("{NOT_NUMBERS}");
        }
        let (probability, class) = logits.softmax(-1, Kind::Float).max_dim(-1, false);
        Ok((Vec::try_from(class)?, Vec::try_from(probability)?))
    }
}

/// A micro-batch: texts and their labels.
#[derive(Debug)]
pub struct TopicBatch {
    tokens: TokenBatch,
    texts: Vec<(usize, u32)>,
    labels: Vec<i64>,
}

impl Objective for Topic {
    type Head = TopicHead;
    type Batch = TopicBatch;

    fn counts(&self, batch: &TopicBatch) -> Counts {
        let labelled = batch.labels.iter().filter(|&&label| label != IGNORE).count() as i64;
        Counts::of_texts(&batch.tokens.lengths, labelled)
    }

    fn texts(&self, batch: &TopicBatch) -> Vec<(usize, u32)> {
        batch.texts.clone()
    }

    fn packed(&self, batch: &TopicBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, batch: &TopicBatch) -> Tensor {
        nb_torch::send(&Tensor::from_slice(&batch.labels), self.device)
    }

    fn pooled(&self, head: &TopicHead, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling.forward(states, packed.segments())
    }

    fn logits(&self, head: &TopicHead, pooled: &Tensor, _: &TopicBatch) -> Tensor {
        head.dense.forward(pooled)
    }
}

impl Task for Topic {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn primary_metric(&self) -> &'static str {
        "accuracy"
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<TopicHead> {
        let classes = self.labels.len() as i64;
        let pooling = pooling(widths, share, seed, device);
        let make = |hidden| {
            move || {
                let mut dense = Dense::zeros(hidden, classes, device);
                dense.randomise(seed.wrapping_add(1)); // not the pooling's numbers again
                dense
            }
        };
        let dense = Shared::from_each(share.dense, make(widths.teacher), make(widths.student));
        HeadPair {
            teacher: TopicHead { pooling: pooling.teacher, dense: dense.teacher },
            student: TopicHead { pooling: pooling.student, dense: dense.student },
        }
    }

    fn accept(&self, description: &Description) -> Result<()> {
        accept(self.name(), description)?;
        if description.labels != self.labels.names() {
            bail!(
                "it tells the labels {}, but the training rows have {}",
                description.labels.join(", "),
                self.labels.names().join(", ")
            );
        }
        Ok(())
    }

    fn stores(&self) -> Vec<&TokenStore> {
        std::iter::once(&*self.train.store).chain(&self.unlabelled).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let first = self.train.store.len() as u32;
        let unlabelled = self.unlabelled.iter().flat_map(|store| (0..store.len() as u32).map(|row| first + row));
        let all: Vec<u32> = self.train.rows.iter().copied().chain(unlabelled).collect();
        let rows: Vec<u32> = order(all.len(), self.seed, epoch).into_iter().map(|i| all[i as usize]).collect();
        let length = |row| {
            let (store, row) = self.text(row);
            self.store(store).length(row as usize)
        };
        cut(&rows, length, self.batch)
    }

    fn batch(&self, _: u64, rows: &[u32]) -> TopicBatch {
        let texts: Vec<(usize, u32)> = rows.iter().map(|&row| self.text(row)).collect();
        let mut tokens = TokenBatch::default();
        for run in texts.chunk_by(|a, b| a.0 == b.0) {
            let rows: Vec<u32> = run.iter().map(|&(_, row)| row).collect();
            tokens.append(self.store(run[0].0).batch(&rows));
        }
        TopicBatch { tokens, labels: texts.iter().map(|&text| self.label(text)).collect(), texts }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let lengths = self.train.rows.iter().map(|&row| self.train.store.length(row as usize) as u64);
        let mut texts = format!(
            "{} to train on ({} tokens an epoch), {} to develop on, {} labels",
            self.train.rows.len(),
            lengths.sum::<u64>(),
            self.dev.rows.len(),
            self.labels.len()
        );
        if let Some(unlabelled) = &self.unlabelled {
            texts += &format!(", {} without a label", unlabelled.len());
        }
        if let Some(test) = &self.test {
            texts += &format!(", {} to test on", test.rows.len());
        }
        vec![("texts", texts)]
    }

    fn warnings(&self) -> Vec<String> {
        warnings(self)
    }

    fn has_test(&self) -> bool {
        self.test.is_some()
    }

    fn evaluate(&self, model: &Model<TopicHead>, split: SplitName, processes: &ProcessGroup) -> Result<Evaluation> {
        let own = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("there is no data.test")?,
        };
        let predicted = numbers((&own.store, &own.rows), 2, processes, |batch| {
            let (classes, probabilities) = self.predict(&model.bert, &model.head, batch)?;
            Ok(classes.into_iter().zip(probabilities).flat_map(|(class, p)| [class as f32, p]).collect())
        })?;
        let known = |(&row, predicted): (&u32, &[f32])| {
            own.labels[row as usize].map(|label| (row, label, predicted[0] as usize, predicted[1]))
        };
        let mut found: Vec<(u32, usize, usize, f32)> =
            own.rows.iter().zip(predicted.chunks_exact(2)).filter_map(known).collect();
        found.sort_unstable_by_key(|(row, ..)| *row); // as in reports
        let (truth, predicted): (Vec<usize>, Vec<usize>) = found.iter().map(|&(_, t, p, _)| (t, p)).unzip();
        let mut evaluation = evaluate_classes(&truth, &predicted)?;
        evaluation.outcomes.rows = found.iter().map(|(row, ..)| *row).collect();
        let numbers = |classes: &[usize]| classes.iter().map(|&class| class as u32).collect();
        let probability = found.iter().map(|(.., probability)| *probability).collect();
        let (names, truth, predicted) = (self.labels.names().to_vec(), numbers(&truth), numbers(&predicted));
        evaluation.outcomes.classes = Some(Classes { names, truth, predicted, probability });
        Ok(evaluation)
    }

    fn infer(&self, bert: &Bert, head: &TopicHead, batch: &TokenBatch) {
        let _ = std::hint::black_box(self.predict(bert, head, batch)); // it is the time that counts
    }

    fn probe(&self) -> Vec<TokenBatch> {
        probe(&self.dev.store, self.dev.rows.clone())
    }

    fn save(&self, head: &TopicHead, folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        self.card.write(folder, self.labels.names(), &self.tokenizer)
    }
}

/// Accuracy, with an interval, and macro-F1 of predicted classes.
///
/// # Errors
/// If there is none.
pub fn evaluate_classes(truth: &[usize], predicted: &[usize]) -> Result<Evaluation> {
    let confusion = Confusion::new(truth, predicted)?;
    let right: Vec<f64> = truth.iter().zip(predicted).map(|(a, b)| f64::from(a == b)).collect();
    let metrics = vec![Metric::mean("accuracy", &right)?, Metric::plain("macro_f1", confusion.macro_f1())];
    let outcomes =
        Outcomes { rows: (0..truth.len() as u32).collect(), values: vec![("accuracy".into(), right)], classes: None };
    Ok(Evaluation { rows: truth.len(), unit: "texts".into(), metrics, outcomes, ..Evaluation::default() })
}
