//! The matrices of one head, and their way from and to the rows of all heads.

use super::Heads;
use crate::float::Float;
use crate::simd::{ALIGN, SQUARE, prefetch, transpose};

/// The buffers of one head. Rows of queries, keys, values and their like have D entries, rounded up; rows of scores have as many as
/// the sequence, rounded up.
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
    /// 1 for each key of the sequence, 0 for the entries of a row of scores beyond them.
    pub(super) present: Vec<f32>,
    /// The weights after dropout.
    pub(super) dropped: Vec<f32>,
    pub(super) mask: Vec<f32>,
    /// dL/d(weights), then dL/d(scores)
    pub(super) scores_grad: Vec<f32>,
    pub(super) out: Vec<f32>,
}

/// The place of one head's entries in rows of all heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadSlice {
    /// Entries of a row.
    pub(super) stride: usize,
    /// The head's first entry in a row.
    pub(super) offset: usize,
    pub(super) heads: Heads,
}

impl HeadSlice {
    /// `out` [length rounded up, width] = `rows`·`scale`; 0 beyond the sequence, for transposing, and beyond D.
    #[inline(always)]
    pub(super) fn read<T: Float>(self, rows: &[T], scale: f32, out: &mut Vec<f32>) {
        let (size, width) = (self.heads.size, self.heads.width());
        let length = rows.len() / self.stride;
        let out = resized(out, length.next_multiple_of(ALIGN) * width);
        let (out, beyond) = out.split_at_mut(length * width);
        beyond.fill(0.0);
        for (row, out) in rows.chunks_exact(self.stride).zip(out.chunks_exact_mut(width)) {
            let (head, rest) = out.split_at_mut(size);
            head.iter_mut().zip(&row[self.offset..]).for_each(|(out, x)| *out = x.to_f32() * scale);
            rest.fill(0.0);
        }
    }

    /// Fetches the next head's entries of each row into the caches. They are as far apart as all heads are wide, which processors
    /// do not predict.
    #[inline(always)]
    pub(super) fn prefetch_next<T: Float>(self, rows: &[T]) {
        let next = self.offset + self.heads.size;
        for row in rows.chunks_exact(self.stride) {
            prefetch(&row[next.min(row.len())..row.len().min(next + self.heads.size)]);
        }
    }

    /// `rows` = `from` [length, width]·`scale`.
    #[inline(always)]
    pub(super) fn write<T: Float>(self, from: &[f32], scale: f32, rows: &mut [T]) {
        for (row, from) in rows.chunks_exact_mut(self.stride).zip(from.chunks_exact(self.heads.width())) {
            let head = &mut row[self.offset..self.offset + self.heads.size];
            head.iter_mut().zip(from).for_each(|(out, x)| *out = T::from_f32(*x * scale));
        }
    }
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

/// The first `len` entries of a buffer, which grows to hold them. Their values are arbitrary; the caller writes them.
#[inline(always)]
pub(super) fn resized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
