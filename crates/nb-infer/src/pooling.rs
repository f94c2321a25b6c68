//! Pooling: from the rows of a text, or the articles of a reader, to one vector.

use nb_checkpoint::{FloatTensors, POOLING_QUERY, PoolingKind};
use nb_kernels::pooling;

use crate::dense::{Dense, DenseScratch};
use crate::error::InferError;

/// The width of the query of attentive pooling.
const QUERY: usize = POOLING_QUERY as usize;

/// From rows to one vector.
#[derive(Debug)]
pub(crate) enum Pooling {
    /// softmax(tanh(x Wᵀ + b)·q) over the rows.
    Attentive {
        proj: Dense,
        query: Vec<f32>,
    },
    Mean,
    /// The first row.
    Cls,
}

impl Pooling {
    /// Reads the pooling `name` of a head, for rows of `hidden` units.
    pub(crate) fn read(
        weights: &FloatTensors<'_>,
        name: &str,
        kind: PoolingKind,
        hidden: usize,
    ) -> Result<Self, InferError> {
        match Self::without_parameters(kind) {
            Some(pooling) => Ok(pooling),
            None => Ok(Self::Attentive {
                proj: Dense::read(weights, &format!("{name}.proj"), [QUERY, hidden])?,
                query: weights.get(&format!("{name}.query.weight"), &[1, QUERY])?,
            }),
        }
    }

    /// Returns a pooling of this kind; `None` if it has parameters.
    pub(crate) fn without_parameters(kind: PoolingKind) -> Option<Self> {
        match kind {
            PoolingKind::Attentive => None,
            PoolingKind::Mean => Some(Self::Mean),
            PoolingKind::Cls => Some(Self::Cls),
        }
    }

    /// Computes the score of each row of `states` [n, H], before the softmax; equal scores for a mean.
    pub(crate) fn scores(&self, states: &[f32], hidden: usize, dense: &mut DenseScratch) -> Vec<f32> {
        let mut scores = vec![0.0; states.len() / hidden];
        if let Self::Attentive { proj, query } = self {
            let mut before = Vec::new();
            proj.forward(states, dense, &mut before);
            pooling::tanh(&mut before);
            pooling::scores(&before, query, &mut scores);
        }
        scores
    }

    /// Pools the states [n, H] of texts of these lengths, which are not 0, to vectors [texts, H].
    pub(crate) fn forward(
        &self,
        lengths: &[usize],
        states: &[f32],
        hidden: usize,
        dense: &mut DenseScratch,
    ) -> Vec<f32> {
        let mut vectors = vec![0.0; lengths.len() * hidden];
        match self {
            Self::Attentive { .. } => {
                let scores = self.scores(states, hidden, dense);
                let (mut weights, out) = (vec![0.0; scores.len()], &mut *vectors);
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
