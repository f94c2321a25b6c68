//! The head: from the states of a text to its vector, and from vectors to probabilities.

use std::path::Path;

use nb_checkpoint::{
    DESCRIPTION_FILE, Description, HEAD_FILE, HeadDescription, POOLING_QUERY, PoolingKind, ScaleKind, ScoreKind,
    SentenceModules, TensorFile,
};
use nb_kernels::gemm::Matrix;
use nb_kernels::pooling;

use crate::dense::{Dense, DenseScratch};
use crate::encoder::Buffers;
use crate::error::InferError;
use crate::options::Precision;
use crate::weights::Weights;

/// The width of the query of attentive pooling.
const QUERY: usize = POOLING_QUERY as usize;
/// The least norm by which a vector is divided, so that zeros stay zeros.
const MIN_NORM: f32 = 1e-12;

/// The layers on top of the encoder. They compute in f32 in every precision: they are a small part of the work.
#[derive(Debug)]
pub(crate) struct Head {
    pooling: Pooling,
    /// From pooled vectors to vectors of another width.
    projection: Option<Dense>,
    score: ScoreKind,
    /// From vectors to logits, for topics.
    classifier: Option<Dense>,
}

#[derive(Debug)]
enum Pooling {
    /// softmax(tanh(x Wᵀ + b)·q) over a text's tokens.
    Attentive {
        proj: Dense,
        query: Vec<f32>,
    },
    Mean,
    /// The state of the first token.
    Cls,
}

impl Head {
    /// Reads the head of a model folder for states of `hidden` units; `None` if the folder does not say how to pool.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub(crate) fn read(
        folder: &Path,
        description: Option<&Description>,
        hidden: usize,
    ) -> Result<Option<Self>, InferError> {
        let Some(Description { head, labels, .. }) = description else {
            return Ok(SentenceModules::read(folder)?.map(Self::of_modules));
        };
        if let Some(width) = head.projection.filter(|&width| width < 1) {
            return Err(InferError::Value {
                path: folder.join(DESCRIPTION_FILE),
                key: "head.projection",
                found: width.to_string(),
                expected: "1 or more".to_owned(),
            });
        }
        let file = TensorFile::read(&folder.join(HEAD_FILE))?;
        Ok(Some(Self::of_weights(&Weights::of_head(&file)?, head, labels.len(), hidden)?))
    }

    fn of_modules(SentenceModules { pooling, normalize, .. }: SentenceModules) -> Self {
        let pooling = Pooling::without_parameters(pooling).unwrap_or(Pooling::Mean); // always some: modules have no parameters
        let score = if normalize { ScoreKind::Cosine } else { ScoreKind::Dot };
        Self { pooling, projection: None, score, classifier: None }
    }

    fn of_weights(
        weights: &Weights<'_>,
        head: &HeadDescription,
        labels: usize,
        hidden: usize,
    ) -> Result<Self, InferError> {
        let dense = |name: &str, [outputs, inputs]: [usize; 2]| -> Result<Dense, InferError> {
            let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
            let bias = weights.get(&format!("{name}.bias"), &[outputs])?;
            Ok(Dense::new(Precision::F32, Matrix { entries: &weight, columns: inputs }, &bias, None))
        };
        weights.check_names(&known_names(head, labels))?;
        let pooling = match Pooling::without_parameters(head.pooling) {
            Some(pooling) => pooling,
            None => Pooling::Attentive {
                proj: dense("pooling.proj", [QUERY, hidden])?,
                query: weights.get("pooling.query.weight", &[1, QUERY])?,
            },
        };
        let width = head.projection.map_or(hidden, |width| usize::try_from(width).unwrap_or(0));
        Ok(Self {
            pooling,
            projection: head.projection.map(|_| dense("vector", [width, hidden])).transpose()?,
            score: head.score,
            classifier: (labels > 0).then(|| dense("dense", [labels, width])).transpose()?,
        })
    }

    /// Returns true if the head classifies.
    pub(crate) fn classifies(&self) -> bool {
        self.classifier.is_some()
    }

    /// Returns the width of vectors, for states of `hidden` units.
    pub(crate) fn width(&self, hidden: usize) -> usize {
        self.projection.as_ref().map_or(hidden, Dense::outputs)
    }

    /// Computes the vectors [texts, width] of the texts in `buffers`.
    pub(crate) fn vectors(&self, buffers: &mut Buffers, hidden: usize) -> Vec<f32> {
        let Buffers { lengths, states, dense, .. } = buffers;
        let mut vectors = self.pooling.forward(lengths, states, hidden, dense);
        if let Some(projection) = &self.projection {
            let pooled = std::mem::take(&mut vectors);
            projection.forward(&pooled, dense, &mut vectors);
        }
        if self.score == ScoreKind::Cosine {
            vectors.chunks_exact_mut(self.width(hidden)).for_each(normalise);
        }
        vectors
    }

    /// Computes the probabilities [texts, labels] of vectors [texts, width].
    pub(crate) fn probabilities(&self, vectors: &[f32]) -> Vec<f32> {
        let mut logits = Vec::new();
        if let Some(classifier) = &self.classifier {
            classifier.forward(vectors, &mut DenseScratch::default(), &mut logits);
            logits.chunks_exact_mut(classifier.outputs()).for_each(softmax);
        }
        logits
    }
}

/// Returns the beginnings of the names of a head's parameters.
fn known_names(head: &HeadDescription, labels: usize) -> Vec<&'static str> {
    let all = [
        (head.pooling == PoolingKind::Attentive, "pooling."),
        (head.projection.is_some(), "vector."),
        (labels > 0, "dense."),
        (head.scale == ScaleKind::Learned, "score."),
        (labels == 0, "reader."), // scores articles for a reader; vectors do not need it
    ];
    all.into_iter().filter_map(|(is_known, name)| is_known.then_some(name)).collect()
}

impl Pooling {
    /// Returns a pooling of this kind; `None` if it has parameters.
    fn without_parameters(kind: PoolingKind) -> Option<Self> {
        match kind {
            PoolingKind::Attentive => None,
            PoolingKind::Mean => Some(Self::Mean),
            PoolingKind::Cls => Some(Self::Cls),
        }
    }

    /// Pools the states [n, H] of texts of these lengths to vectors [texts, H].
    fn forward(&self, lengths: &[usize], states: &[f32], hidden: usize, dense: &mut DenseScratch) -> Vec<f32> {
        let mut vectors = vec![0.0; lengths.len() * hidden];
        match self {
            Self::Attentive { proj, query } => {
                let rows = states.len() / hidden;
                let (mut before, mut scores, mut weights) = (Vec::new(), vec![0.0; rows], vec![0.0; rows]);
                proj.forward(states, dense, &mut before);
                pooling::tanh(&mut before);
                pooling::scores(&before, query, &mut scores);
                let out = &mut *vectors;
                pooling::Forward { lengths, scores: &scores, x: states, weights: &mut weights, out }.run();
            }
            Self::Mean => {
                for (states, out) in texts(lengths, states, hidden).zip(vectors.chunks_exact_mut(hidden)) {
                    let share = 1.0 / (states.len() / hidden) as f32;
                    for row in states.chunks_exact(hidden) {
                        out.iter_mut().zip(row).for_each(|(out, x)| *out += x);
                    }
                    out.iter_mut().for_each(|out| *out *= share);
                }
            }
            Self::Cls => {
                for (states, out) in texts(lengths, states, hidden).zip(vectors.chunks_exact_mut(hidden)) {
                    out.copy_from_slice(&states[..hidden]);
                }
            }
        }
        vectors
    }
}

/// Returns the states of each text.
fn texts<'a>(lengths: &'a [usize], mut states: &'a [f32], hidden: usize) -> impl Iterator<Item = &'a [f32]> {
    lengths.iter().map(move |length| states.split_off(..length * hidden).unwrap_or_default())
}

/// Divides a vector by its norm. If the norm is no finite number, the vector becomes NaN: dividing by infinity would hide that.
fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let norm = if norm.is_finite() { norm.max(MIN_NORM) } else { f32::NAN };
    vector.iter_mut().for_each(|x| *x /= norm);
}

fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|logit| *logit /= sum);
}
