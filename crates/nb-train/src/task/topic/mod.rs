//! Topic classification: one text, one label out of C.
//!
//! Top layers: attentive pooling h over the last hidden states, and a dense layer z = D h + d.

mod open;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail};
use nb_data::batch::{cut, order};
use nb_data::{BatchSize, Labels, TokenBatch, TokenStore, Tokenizer};
use nb_eval::Confusion;
use nb_loss::IGNORE;
use nb_model::{Arena, AttentivePooling, Bert, Dense, POOLING_QUERY, Packed, Pass};
use nb_share::Shared;
use tch::{Device, Tensor};

use super::texts::{NOT_NUMBERS, batches, pack, probe};
use super::{Layers, Objective, Outputs, Task, Tops, pooling};
use crate::card::{Card, save_head};
use crate::evaluation::{Evaluation, Metric};
use crate::method::Share;
use crate::terms::Counts;

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
    pub(crate) labels: Labels,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) card: Card,
    pub(crate) batch: BatchSize,
    pub(crate) seed: u64,
    pub(crate) device: Device,
}

/// Pooling and dense layer of one model; either may be the other model's too.
#[derive(Debug)]
pub struct TopicTop {
    /// Attentive pooling.
    pub pooling: Rc<AttentivePooling>,
    /// The dense layer.
    pub dense: Rc<Dense>,
}

impl Layers for TopicTop {
    fn arenas(&self) -> Vec<&Arena> {
        vec![self.pooling.arena(), self.dense.arena()]
    }
}

impl TopicTop {
    /// From last hidden states [n, H] to pooled vectors [B, H] and logits [B, C].
    pub fn forward(&self, states: &Tensor, packed: &Packed) -> Outputs {
        let pooled = self.pooling.forward(states, packed.runs());
        Outputs { logits: self.dense.forward(&pooled), pooled }
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
    fn label(&self, row: u32) -> i64 {
        self.train.labels[row as usize].map_or(IGNORE, |label| label as i64)
    }

    /// The most probable class of each text.
    fn predict(&self, bert: &Bert, top: &TopicTop, batch: &TokenBatch) -> Result<Vec<i64>> {
        let packed = pack(batch, self.device);
        let logits = tch::no_grad(|| {
            let states = bert.encode(&packed, Pass::Inference);
            top.forward(states.last(), &packed).logits.to_device(Device::Cpu)
        });
        if logits.isfinite().all().int64_value(&[]) == 0 {
            bail!("{NOT_NUMBERS}");
        }
        Ok(Vec::<i64>::try_from(logits.argmax(-1, false))?)
    }
}

/// A micro-batch: texts and their labels.
#[derive(Debug)]
pub struct TopicBatch {
    tokens: TokenBatch,
    labels: Vec<i64>,
}

impl Objective for Topic {
    type Top = TopicTop;
    type Batch = TopicBatch;

    fn counts(&self, batch: &TopicBatch) -> Counts {
        let sequences = batch.labels.len() as i64;
        let labelled = batch.labels.iter().filter(|&&label| label != IGNORE).count() as i64;
        Counts { tokens: batch.tokens.ids.len() as i64, pooled: sequences, rows: sequences, labelled }
    }

    fn packed(&self, batch: &TopicBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, batch: &TopicBatch) -> Tensor {
        Tensor::from_slice(&batch.labels).to_device(self.device)
    }

    fn outputs(&self, top: &TopicTop, states: &Tensor, packed: &Packed, _: &TopicBatch) -> Outputs {
        top.forward(states, packed)
    }
}

impl Task for Topic {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn primary_metric(&self) -> &'static str {
        "accuracy"
    }

    fn tops(&self, hidden: i64, share: Share, seed: u64, device: Device) -> Tops<TopicTop> {
        let classes = self.labels.len() as i64;
        let pooling = pooling(hidden, share, seed, device);
        let dense = Shared::new(share.dense, || {
            let mut dense = Dense::zeros(hidden, classes, device);
            dense.randomise(seed.wrapping_add(1)); // not the pooling's numbers again
            dense
        });
        Tops {
            teacher: TopicTop { pooling: pooling.teacher, dense: dense.teacher },
            student: TopicTop { pooling: pooling.student, dense: dense.student },
        }
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let rows: Vec<u32> =
            order(self.train.rows.len(), self.seed, epoch).into_iter().map(|i| self.train.rows[i as usize]).collect();
        cut(&rows, |row| self.train.store.length(row as usize), self.batch)
    }

    fn batch(&self, _: u64, rows: &[u32]) -> TopicBatch {
        TopicBatch { tokens: self.train.store.batch(rows), labels: rows.iter().map(|&row| self.label(row)).collect() }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let lengths = self.train.rows.iter().map(|&row| self.train.store.length(row as usize) as u64);
        let texts = format!(
            "{} to train on ({} tokens an epoch), {} to develop on, {} labels",
            self.train.rows.len(),
            lengths.sum::<u64>(),
            self.dev.rows.len(),
            self.labels.len()
        );
        vec![("texts", texts)]
    }

    fn evaluate(&self, bert: &Bert, top: &TopicTop) -> Result<Evaluation> {
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        for batch in batches(&self.dev.store, self.dev.rows.clone()) {
            for (row, class) in batch.rows.iter().zip(self.predict(bert, top, &batch)?) {
                if let Some(label) = self.dev.labels[*row as usize] {
                    truth.push(label);
                    predicted.push(class as usize);
                }
            }
        }
        evaluate_classes(&truth, &predicted)
    }

    fn infer(&self, bert: &Bert, top: &TopicTop, batch: &TokenBatch) {
        let _ = std::hint::black_box(self.predict(bert, top, batch)); // it is the time that counts
    }

    fn probe(&self) -> Vec<TokenBatch> {
        probe(&self.dev.store, self.dev.rows.clone())
    }

    fn save(&self, top: &TopicTop, folder: &Path) -> Result<()> {
        save_head(folder, &top.arenas())?;
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
    Ok(Evaluation { rows: truth.len(), unit: "texts", metrics, ..Evaluation::default() })
}
