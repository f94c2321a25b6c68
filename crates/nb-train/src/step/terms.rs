//! The terms of a method's loss, computed from the outputs of teacher and student.
//!
//! Every term is a sum over its unit divided by the count of that unit in the whole global batch ([`Counts`]), so the
//! terms of micro-batches add up to those of the batch.

use std::collections::BTreeMap;

use nb_checkpoint::LabelKind;
use nb_data::TokenBatch;
use nb_loss::{
    Soft, SoftLoss, binary_cross_entropy, binary_soft_loss, cosine_distance, cwsm_temperatures, flsw_temperatures,
    hard_cross_entropy, normalised_state_mse, score_mse, similarity_kl, similarity_mse, soft_loss, squared_distance,
    state_mse, weighted_cross_entropy,
};
use nb_model::{Dense, Encoded, Packed, cls_pooling};
use tch::Tensor;

use crate::method::{Method, Temperature, TermKind};
use crate::model::HeadOutputs;

/// Units in the whole global batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Real tokens.
    pub tokens: i64,
    /// Pairs of real tokens of the same text, the units of attention scores: Σ length².
    pub pairs: i64,
    /// Pooled vectors: texts.
    pub pooled: i64,
    /// Ordered pairs of different texts of the same micro-batch: Σ B(B − 1).
    pub text_pairs: i64,
    /// Rows of logits.
    pub rows: i64,
    /// Rows of logits with a label.
    pub labelled: i64,
}

impl Counts {
    /// Returns the counts of texts of the given lengths. Each text is a row; `labelled` of them have a label.
    pub fn of_texts(lengths: &[i64], labelled: i64) -> Self {
        let sequences = lengths.len() as i64;
        Self {
            tokens: lengths.iter().sum(),
            pairs: lengths.iter().map(|length| length * length).sum(),
            pooled: sequences,
            text_pairs: sequences * (sequences - 1),
            rows: sequences,
            labelled,
        }
    }

    /// Returns the counts of a batch of rows, which may have several sequences each; `labelled` rows have a label. Tokens and
    /// their pairs are those of sequences; pooled vectors, their pairs and rows of logits those of rows.
    ///
    /// ```
    /// use nb_data::TokenBatch;
    /// use nb_train::step::Counts;
    /// // Two rows, the first in two windows.
    /// let batch = TokenBatch { rows: vec![0, 1], lengths: vec![8, 4, 3], windows: vec![2, 1], ..TokenBatch::default() };
    /// let counts = Counts::of_batch(&batch, 2);
    /// assert_eq!((counts.tokens, counts.pairs), (15, 64 + 16 + 9));
    /// assert_eq!((counts.pooled, counts.text_pairs, counts.rows), (2, 2, 2));
    /// ```
    pub fn of_batch(batch: &TokenBatch, labelled: i64) -> Self {
        let counts = Self::of_texts(&batch.lengths, labelled);
        let rows = if batch.windows.is_empty() { counts.rows } else { batch.windows.len() as i64 };
        Self { pooled: rows, text_pairs: rows * (rows - 1), rows, ..counts }
    }

    /// The number of units of a term.
    pub fn units(&self, kind: TermKind) -> i64 {
        match kind {
            TermKind::Teacher | TermKind::Hard => self.labelled,
            TermKind::Embedding | TermKind::Hidden | TermKind::Cosine => self.tokens,
            TermKind::Pooled
            | TermKind::Patience
            | TermKind::Vector
            | TermKind::VectorCosine
            | TermKind::SimilarityKl => self.pooled,
            TermKind::Similarity => self.text_pairs,
            TermKind::Attention => self.pairs,
            TermKind::Soft | TermKind::Divergence => self.rows,
        }
    }
}

impl Counts {
    /// The counts as an array, to be sent to other processes.
    pub(crate) fn to_array(self) -> [i64; 6] {
        let Self { tokens, pairs, pooled, text_pairs, rows, labelled } = self;
        [tokens, pairs, pooled, text_pairs, rows, labelled]
    }

    /// The inverse of [`Counts::to_array`].
    pub(crate) fn from_array([tokens, pairs, pooled, text_pairs, rows, labelled]: [i64; 6]) -> Self {
        Self { tokens, pairs, pooled, text_pairs, rows, labelled }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (a, b) = (self.to_array(), other.to_array());
        Self::from_array(std::array::from_fn(|i| a[i] + b[i]))
    }
}

/// The outputs of one model for a micro-batch, as far as the method's terms use them.
#[derive(Debug, Default)]
pub struct ModelOutputs {
    /// Hidden states [n, H] by number: 0 is the embedding output.
    pub states: BTreeMap<usize, Tensor>,
    /// \[CLS\] states [B, H] by number, if they are not taken from `states`.
    pub firsts: BTreeMap<usize, Tensor>,
    /// Attention scores of each layer ([`Encoded::scores`]).
    pub scores: Vec<Tensor>,
    /// Pooled vectors and logits.
    pub outputs: Option<HeadOutputs>,
}

impl ModelOutputs {
    /// The outputs of an encoder of `depth` layers.
    pub fn of(encoded: &Encoded, depth: usize, outputs: Option<HeadOutputs>) -> Self {
        let first = depth + 1 - encoded.states().len();
        let states = encoded.states().iter().enumerate().map(|(i, state)| (first + i, state.shallow_clone()));
        let scores = encoded.scores().iter().map(Tensor::shallow_clone).collect();
        Self { states: states.collect(), scores, outputs, ..Self::default() }
    }

    /// State `i`.
    ///
    /// # Panics
    /// If it was not captured.
    pub(super) fn state(&self, i: usize) -> &Tensor {
        self.states.get(&i).unwrap_or_else(|| panic!("state {i} was not captured"))
    }

    fn first(&self, i: usize, packed: &Packed) -> Tensor {
        self.firsts.get(&i).map_or_else(|| cls_pooling(self.state(i), packed), Tensor::shallow_clone)
    }

    /// Pooled vectors and logits.
    ///
    /// # Panics
    /// If the stage has no term that uses them.
    pub fn outputs(&self) -> &HeadOutputs {
        self.outputs.as_ref().expect("a stage with this term has outputs")
    }
}

/// The inputs of the terms: both models' outputs, the labels, and the divisors.
#[derive(Debug)]
pub struct TermInputs<'a> {
    /// The teacher's outputs, if there is one.
    pub teacher: Option<&'a ModelOutputs>,
    /// The student's outputs, if there is one.
    pub student: Option<&'a ModelOutputs>,
    /// The texts.
    pub packed: &'a Packed,
    /// The number of labels of a row, which decides how logits become probabilities.
    pub label_kind: LabelKind,
    /// The labels of the rows of logits ([`Objective::labels`](crate::task::Objective::labels)).
    pub labels: &'a Tensor,
    /// The weight of each class in the hard loss, \[C\]; `None` if all rows count the same.
    pub class_weights: Option<&'a Tensor>,
    /// Layers of the teacher; 0 without one.
    pub teacher_layers: usize,
    /// Layers of the student; 0 without one.
    pub student_layers: usize,
    /// Attention heads; the same number in both models if scores are compared.
    pub heads: i64,
    /// Projection from the student's width to the teacher's, if they differ.
    pub projection: Option<&'a Dense>,
    /// Units in the whole global batch.
    pub counts: Counts,
}

impl TermInputs<'_> {
    /// Computes one term, unweighted. `temperature` applies unless the method has a temperature per row.
    ///
    /// # Panics
    /// If the term needs an output that is missing; [`Method`]'s checks rule that out.
    pub fn term(&self, kind: TermKind, method: &Method, temperature: f64) -> Tensor {
        let teacher = || self.teacher.expect("a teacher");
        let student = || self.student.expect("a student");
        let (l, n) = (self.teacher_layers, self.student_layers);
        let counts = self.counts;
        match kind {
            TermKind::Teacher => self.hard(teacher()),
            TermKind::Hard => self.hard(student()),
            TermKind::Embedding => state_mse(teacher().state(0), &self.wide(student().state(0)), counts.tokens),
            TermKind::Hidden => {
                let target = |i| teacher().state(method.teacher_state(i, l, n));
                (1..=n).map(|i| state_mse(target(i), &self.wide(student().state(i)), counts.tokens)).sum()
            }
            TermKind::Pooled => {
                state_mse(&teacher().outputs().pooled, &self.wide(&student().outputs().pooled), counts.pooled)
            }
            TermKind::Patience => {
                let layer = |j| {
                    let target = teacher().first(method.pkd_layers.teacher_state(j, l, n), self.packed);
                    normalised_state_mse(&target, &self.wide(&student().first(j, self.packed)), counts.pooled)
                };
                (1..n).map(layer).reduce(|a, b| a + b).unwrap_or_else(|| nothing(student()))
            }
            TermKind::Attention => {
                let target = |i| &teacher().scores[method.teacher_state(i, l, n) - 1];
                (1..=n).map(|i| score_mse(target(i), &student().scores[i - 1], counts.pairs * self.heads)).sum()
            }
            TermKind::Cosine => cosine_distance(teacher().state(l), &self.wide(student().state(n)), counts.tokens),
            TermKind::Vector => {
                let (t, s) = (&teacher().outputs().vectors, &student().outputs().vectors);
                squared_distance(t, &self.as_wide(s, t), counts.pooled)
            }
            TermKind::VectorCosine => {
                let (t, s) = (&teacher().outputs().vectors, &student().outputs().vectors);
                cosine_distance(t, &self.as_wide(s, t), counts.pooled)
            }
            TermKind::Similarity => {
                similarity_mse(&teacher().outputs().units(), &student().outputs().units(), counts.text_pairs)
            }
            TermKind::SimilarityKl => {
                let (t, s) = (teacher().outputs().units(), student().outputs().units());
                similarity_kl(&t, &s, method.similarity_scale, counts.pooled)
            }
            TermKind::Soft => self.soft(SoftLoss::CrossEntropy, method, temperature),
            TermKind::Divergence => self.soft(SoftLoss::KlDivergence, method, temperature),
        }
    }

    fn hard(&self, model: &ModelOutputs) -> Tensor {
        let (logits, count) = (&model.outputs().logits, self.counts.labelled);
        match (self.label_kind, self.class_weights) {
            (LabelKind::Single, None) => hard_cross_entropy(logits, self.labels, count),
            (LabelKind::Single, Some(weights)) => weighted_cross_entropy(logits, self.labels, weights, count),
            (LabelKind::Multi, weights) => binary_cross_entropy(logits, self.labels, weights, count),
        }
    }

    fn soft(&self, loss: SoftLoss, method: &Method, temperature: f64) -> Tensor {
        let (teacher, student) = (self.teacher.expect("a teacher"), self.student.expect("a student"));
        let (v, z) = (&teacher.outputs().logits, &student.outputs().logits);
        let by_row = match method.temperature {
            Temperature::Flsw { base, beta, gamma } => Some(flsw_temperatures(v, z, base, beta, gamma)),
            Temperature::Cwsm { base, beta } => Some(cwsm_temperatures(z, base, beta)),
            Temperature::Ramp(_) => None,
        };
        let temperature = match &by_row {
            Some(each) => nb_loss::Temperature::PerRow(each),
            None => nb_loss::Temperature::Same(temperature),
        };
        let soft = Soft { loss, temperature, scaling: method.scaling };
        match self.label_kind {
            LabelKind::Single => soft_loss(v, z, &soft, self.counts.rows),
            LabelKind::Multi => binary_soft_loss(v, z, &soft, self.counts.rows),
        }
    }

    /// Projects the student's vectors to the width of the teacher's, unless its head has done so.
    fn as_wide(&self, student: &Tensor, teacher: &Tensor) -> Tensor {
        if student.size()[1] == teacher.size()[1] { student.shallow_clone() } else { self.wide(student) }
    }

    /// Projects vectors of the student to the teacher's width.
    fn wide(&self, student: &Tensor) -> Tensor {
        self.projection.map_or_else(|| student.shallow_clone(), |projection| projection.forward(student))
    }
}

/// The value of a term with nothing to compare: 0, with a gradient of 0.
fn nothing(student: &ModelOutputs) -> Tensor {
    let (_, state) = student.states.last_key_value().expect("a model has at least its last state");
    state.narrow(0, 0, 0).sum(tch::Kind::Float)
}
