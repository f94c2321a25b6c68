//! Pooling of rows into one vector: of a text's states, or of a reader's clicked articles.

use nb_checkpoint::{CheckpointError, FloatTensors, POOLING_QUERY, PoolingKind};

use super::graph::{Graph, Value};
use super::linear::Linear;
use super::mask;

/// The width of the query of attentive pooling.
const QUERY: usize = POOLING_QUERY as usize;

/// A pooling and its parameters.
pub(super) enum Pooling {
    /// Σ a_t x_t with a = softmax(tanh(x Wᵀ + b)·q).
    Attentive {
        proj: Linear,
        query: Vec<f32>,
    },
    Mean,
    /// The first row.
    Cls,
}

impl Pooling {
    /// Returns a pooling of this kind for rows of `width` entries, with the tensors `<name>.proj` and `<name>.query`.
    pub(super) fn read(
        tensors: &FloatTensors<'_>,
        name: &str,
        kind: PoolingKind,
        width: usize,
    ) -> Result<Self, CheckpointError> {
        Ok(match kind {
            PoolingKind::Attentive => Self::Attentive {
                proj: Linear::read(tensors, &format!("{name}.proj"), [QUERY, width])?,
                query: tensors.get(&format!("{name}.query.weight"), &[1, QUERY])?,
            },
            PoolingKind::Mean => Self::Mean,
            PoolingKind::Cls => Self::Cls,
        })
    }

    /// Adds the pooling of rows x [B, T, H] with a mask [B, T], and returns the vectors [B, H].
    pub(super) fn add(&self, graph: &mut Graph, name: &str, x: &Value, mask: &Value) -> Value {
        graph.scope(name);
        match self {
            Self::Attentive { proj, query } => {
                let before = proj.add(graph, x);
                graph.scope(name);
                let before = graph.map("Tanh", &before);
                let query = graph.floats(&format!("{name}.query.weight"), &[QUERY, 1], query);
                let scores = graph.zip("MatMul", &before, &query);
                let scores = graph.squeeze(&scores, -1);
                let bias = mask::bias(graph, mask);
                let scores = graph.zip("Add", &scores, &bias);
                let weights = graph.softmax(&scores);
                weighted_sum(graph, &weights, x)
            }
            Self::Mean => {
                let mask = graph.cast(mask);
                let sum = weighted_sum(graph, &mask, x);
                let count = graph.sum(&mask);
                let count = graph.with_scalar("Max", &count, 1.0); // rows of padding alone become zeros, not NaN
                graph.zip("Div", &sum, &count)
            }
            Self::Cls => graph.first_of_each(x),
        }
    }
}

/// Adds Σ_t a_t x_t: weights [B, T] and rows [B, T, H] to [B, H].
fn weighted_sum(graph: &mut Graph, weights: &Value, x: &Value) -> Value {
    let weights = graph.unsqueeze(weights, &[1]);
    let sum = graph.zip("MatMul", &weights, x);
    graph.squeeze(&sum, 1)
}
