//! Masks of padding: 1 for an entry that counts, 0 for padding.

use super::graph::{Graph, Value};

/// Adds the [`bias`] of a mask [B, T] for attention, [B, 1, 1, T]. Dimensions are inserted one by one, because optimisers
/// recognise that form.
pub(super) fn attention_bias(graph: &mut Graph, mask: &Value) -> Value {
    let mask = graph.unsqueeze(mask, &[1]);
    let mask = graph.unsqueeze(&mask, &[2]);
    bias(graph, &mask)
}

/// Adds the numbers that remove padding from a softmax when they are added to its inputs: 0, or the least number.
///
/// Not −∞: a row of padding alone would become NaN.
pub(super) fn bias(graph: &mut Graph, mask: &Value) -> Value {
    let mask = graph.cast(mask);
    let one = graph.scalar(1.0);
    let padding = graph.zip("Sub", &one, &mask);
    graph.with_scalar("Mul", &padding, f32::MIN)
}
