//! The buffers of one head.

use crate::simd::{ALIGN, SQUARE, transpose};

/// The buffers of one head. Rows of queries, keys, values and outputs have D entries, rounded up; rows of scores have one entry
/// per key, rounded up.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Q/√D
    pub(super) query: Vec<f32>,
    pub(super) key: Vec<f32>,
    pub(super) value: Vec<f32>,
    /// dL/d(output)
    pub(super) grad: Vec<f32>,
    /// Kᵀ, or Vᵀ
    pub(super) transposed: Vec<f32>,
    pub(super) weights: Vec<f32>,
    /// 1 for each key of the sequence, 0 for the padding after them in a row of scores.
    pub(super) present: Vec<f32>,
    /// The weights after dropout.
    pub(super) dropped: Vec<f32>,
    pub(super) mask: Vec<f32>,
    /// dL/d(weights), then dL/d(scores)
    pub(super) scores_grad: Vec<f32>,
    pub(super) out: Vec<f32>,
}

/// Writes the transpose [width, keys] of `rows` [keys, width] to `out`.
#[inline(always)]
pub(super) fn transpose_into(rows: &[f32], width: usize, out: &mut Vec<f32>) {
    const { assert!(ALIGN.is_multiple_of(SQUARE), "rows are complete squares") };
    let keys = rows.len() / width;
    let out = resized(out, width * keys);
    for (block, rows) in rows.chunks_exact(SQUARE * width).enumerate() {
        for (square, out) in out.chunks_exact_mut(SQUARE * keys).enumerate() {
            transpose(&rows[square * SQUARE..], width, &mut out[block * SQUARE..], keys);
        }
    }
}

/// Returns the first `len` entries of a buffer, which grows if necessary. Their values are arbitrary; the caller overwrites
/// them.
#[inline(always)]
pub(super) fn resized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
