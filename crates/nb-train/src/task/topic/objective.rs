//! The head, the micro-batch and the objective of topic classification.

use std::rc::Rc;

use nb_checkpoint::LabelKind;
use nb_data::TokenBatch;
use nb_loss::IGNORE;
use nb_model::{Arena, ClassifierActivation, Dense, Packed, Pooling, PoolingKind, Transform};
use tch::{Device, Kind, Tensor};

use crate::step::Counts;
use crate::task::encode::pack;
use crate::task::{Objective, TaskHead, TextRef};

/// The pooling and the dense layer of a model. Either may be shared with another model. A teacher that was fine-tuned
/// elsewhere has another layer between them.
#[derive(Debug)]
pub struct TopicHead {
    /// Pooling over tokens.
    pub pooling: Rc<Pooling>,
    /// The layer of a classifier of transformers between `[CLS]` and the dense layer; `None` in the heads of runs.
    pub transform: Option<Transform>,
    /// The dense layer z = D h + d.
    pub dense: Rc<Dense>,
}

impl TopicHead {
    /// Makes a head of zeros with attentive pooling for `hidden` units and `classes` labels.
    pub fn zeros(hidden: i64, classes: i64, device: Device) -> Self {
        Self {
            pooling: Rc::new(Pooling::zeros(PoolingKind::Attentive, hidden, device)),
            transform: None,
            dense: Rc::new(Dense::zeros(hidden, classes, device)),
        }
    }

    /// Makes the head of a classifier of transformers, of zeros: the state of `[CLS]`, a dense layer with an activation, and
    /// a dense layer for `classes` labels.
    pub fn classifier(activation: ClassifierActivation, hidden: i64, classes: i64, device: Device) -> Self {
        Self {
            pooling: Rc::new(Pooling::Cls),
            transform: Some(Transform::zeros(hidden, activation, device)),
            dense: Rc::new(Dense::zeros(hidden, classes, device)),
        }
    }

    /// Computes logits [B, C] from last hidden states [n, H].
    pub fn forward(&self, states: &Tensor, packed: &Packed) -> Tensor {
        self.dense.forward(&self.vectors(&self.pooling.texts(states, packed)))
    }
}

impl TaskHead for TopicHead {
    fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    fn vectors(&self, pooled: &Tensor) -> Tensor {
        self.transform.as_ref().map_or_else(|| pooled.shallow_clone(), |transform| transform.forward(pooled))
    }

    fn arenas(&self) -> Vec<&Arena> {
        let transform = self.transform.as_ref().map(Transform::arena);
        self.pooling.arena().into_iter().chain(transform).chain([self.dense.arena()]).collect()
    }
}

/// A micro-batch of texts with labels.
#[derive(Debug, Clone, Default)]
pub struct TopicBatch {
    /// The tokens of the texts.
    pub tokens: TokenBatch,
    /// The location of each text.
    pub texts: Vec<TextRef>,
    /// The labels, text after text. One label per text: its class. Any number: for each label 1 if it applies, else 0. All
    /// entries of a text without labels are [`IGNORE`].
    pub labels: Vec<i64>,
}

/// Topic classification as the training step sees it.
///
/// ```
/// use nb_train::task::{Objective, TopicBatch, TopicObjective};
/// let objective = TopicObjective::new(tch::Device::Cpu);
/// let batch = TopicBatch { labels: vec![2, 0], ..TopicBatch::default() };
/// assert_eq!(objective.labels(&batch), tch::Tensor::from_slice(&[2_i64, 0]));
/// ```
#[derive(Debug, Clone)]
pub struct TopicObjective {
    /// The device of the models.
    pub device: Device,
    /// The number of labels of a text.
    pub label_kind: LabelKind,
    /// The weight of each class in the hard loss, \[C\] on the device; `None` if all rows count the same.
    pub class_weights: Option<Rc<Tensor>>,
}

impl TopicObjective {
    /// Makes an objective in which each text has one label, and all rows count the same.
    pub const fn new(device: Device) -> Self {
        Self { device, label_kind: LabelKind::Single, class_weights: None }
    }
}

impl TopicObjective {
    /// Returns the number of entries of a text in `labels`.
    fn labels_per_text(&self, batch: &TopicBatch) -> usize {
        match self.label_kind {
            LabelKind::Single => 1,
            LabelKind::Multi => batch.labels.len() / batch.tokens.rows.len().max(1),
        }
    }
}

impl Objective for TopicObjective {
    type Head = TopicHead;
    type Batch = TopicBatch;

    fn counts(&self, batch: &TopicBatch) -> Counts {
        let by_text = batch.labels.chunks_exact(self.labels_per_text(batch).max(1));
        let labelled = by_text.filter(|labels| labels[0] != IGNORE).count() as i64;
        Counts::of_batch(&batch.tokens, labelled)
    }

    fn texts(&self, batch: &TopicBatch) -> Vec<TextRef> {
        batch.texts.clone()
    }

    fn packed(&self, batch: &TopicBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn label_kind(&self) -> LabelKind {
        self.label_kind
    }

    fn labels(&self, batch: &TopicBatch) -> Tensor {
        let labels = Tensor::from_slice(&batch.labels);
        let labels = match self.label_kind {
            LabelKind::Single => labels,
            LabelKind::Multi => labels.view([-1, self.labels_per_text(batch).max(1) as i64]).to_kind(Kind::Float),
        };
        nb_torch::send(&labels, self.device)
    }

    fn class_weights(&self) -> Option<&Tensor> {
        self.class_weights.as_deref()
    }

    fn logits(&self, head: &TopicHead, vectors: &Tensor, _: &TopicBatch) -> Tensor {
        head.dense.forward(vectors)
    }
}
