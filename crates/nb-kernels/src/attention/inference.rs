//! The forward pass of one sequence without dropout, and without the numbers that a backward pass needs.
//!
//! A few rows of scores at a time stay in the L1 cache from the products with the keys to the products with the values. Queries are
//! read and outputs are written in place. Scores are scaled in the softmax, and weights are divided by their sum after the products with
//! the values.

use pulp::{Simd, WithSimd};

use super::heads::HeadSlice;
use super::scratch::resized;
use super::sequence::{Part, Sequence};
use crate::simd::{ALIGN, SQUARE, accumulate, dispatch, exp_of_low, transpose};

/// Rows that are computed together.
const ROWS: usize = 6;
/// The largest number of registers of columns that are computed together.
const REGISTERS: usize = 4;

/// Inputs and outputs of one sequence.
pub(super) struct Inference<'a> {
    pub(super) sequence: Sequence,
    /// [length, 3H]
    pub(super) qkv: &'a [f32],
    /// [length, H]
    pub(super) out: &'a mut [f32],
}

impl Inference<'_> {
    /// Computes the sequence in a buffer that successive calls may reuse.
    pub(super) fn run(self, buffer: &mut Vec<f32>) {
        dispatch(WithBuffer { task: self, buffer });
    }
}

struct WithBuffer<'a, 's> {
    task: Inference<'a>,
    buffer: &'s mut Vec<f32>,
}

impl WithSimd for WithBuffer<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task: Inference { sequence, qkv, out }, buffer } = self;
        let (length, width, keys) = (sequence.length, sequence.heads.width(), sequence.keys());
        let (start, rest) = resized(buffer, (1 + width + ROWS) * keys + length * width).split_at_mut(keys);
        let (transposed, rest) = rest.split_at_mut(width * keys);
        let (values, weights) = rest.split_at_mut(length * width);
        start[..length].fill(0.0);
        start[length..].fill(f32::NEG_INFINITY); // no key: a weight of almost 0, which no value is multiplied with
        for head in 0..sequence.heads.count {
            let [query, key, value] = [Part::Query, Part::Key, Part::Value].map(|part| sequence.qkv_slice(head, part));
            transpose_keys(key, qkv, keys, transposed);
            copy_values(value, qkv, values);
            [query, key, value].into_iter().for_each(|slice| slice.prefetch_next(qkv));
            let mut head = Head { simd, query, qkv, start, transposed, values, place: sequence.out_slice(head), out };
            let mut row = 0;
            while row < length {
                row += match length - row {
                    ROWS.. => head.strip::<ROWS>(row, weights),
                    3.. => head.strip::<3>(row, weights),
                    2 => head.strip::<2>(row, weights),
                    _ => head.strip::<1>(row, weights),
                };
            }
        }
    }
}

/// Writes the head's keys as columns to `out` [width, keys], with zeros beyond the last key and beyond D.
#[inline(always)]
fn transpose_keys(slice: HeadSlice, qkv: &[f32], keys: usize, out: &mut [f32]) {
    let (stride, size) = (slice.stride, slice.heads.size);
    for (block, rows) in qkv.chunks(SQUARE * stride).enumerate() {
        for (square, out) in out.chunks_exact_mut(SQUARE * keys).enumerate() {
            let (first, out) = (slice.offset + square * SQUARE, &mut out[block * SQUARE..]);
            let count = SQUARE.min(size - square * SQUARE);
            if rows.len() == SQUARE * stride && count == SQUARE {
                transpose(&rows[first..], stride, out, keys);
                continue;
            }
            let mut padded = [0.0; SQUARE * SQUARE];
            for (row, padded) in rows.chunks_exact(stride).zip(padded.chunks_exact_mut(SQUARE)) {
                padded[..count].copy_from_slice(&row[first..first + count]);
            }
            transpose(&padded, SQUARE, out, keys);
        }
    }
}

/// Copies the head's values to `out` [length, width], with zeros beyond D. In place, they would share few sets of the L1 cache.
#[inline(always)]
fn copy_values(slice: HeadSlice, qkv: &[f32], out: &mut [f32]) {
    let size = slice.heads.size;
    for (row, out) in qkv.chunks_exact(slice.stride).zip(out.chunks_exact_mut(slice.heads.width())) {
        let (blocks, rest) = row[slice.offset..slice.offset + size].as_chunks::<ALIGN>();
        let (places, last) = out.as_chunks_mut::<ALIGN>();
        debug_assert!(last.is_empty());
        let (complete, incomplete) = places.split_at_mut(blocks.len());
        complete.copy_from_slice(blocks);
        if let Some(place) = incomplete.first_mut() {
            place[..rest.len()].copy_from_slice(rest);
            place[rest.len()..].fill(0.0);
        }
    }
}

/// One head, ready for the products.
struct Head<'a, S> {
    simd: S,
    query: HeadSlice,
    qkv: &'a [f32],
    /// The start of each score: 0, or −∞ beyond the last key [keys].
    start: &'a [f32],
    /// Kᵀ [width, keys].
    transposed: &'a [f32],
    /// V [length, width].
    values: &'a [f32],
    place: HeadSlice,
    out: &'a mut [f32],
}

/// The steps are inlined into the kernel and therefore compiled for the same registers.
impl<S: Simd> Head<'_, S> {
    /// Computes `R` rows from `row` on, and returns `R`. A row's result does not depend on `R`.
    #[inline(always)]
    fn strip<const R: usize>(&mut self, row: usize, weights: &mut [f32]) -> usize {
        let keys = self.start.len();
        let most = if S::REGISTER_COUNT >= 32 { REGISTERS } else { REGISTERS / 2 };
        let weights = &mut weights[..R * keys];
        let mut column = 0;
        while column < keys {
            column += S::F32_LANES
                * match ((keys - column) / S::F32_LANES).min(most) {
                    4.. => self.scores::<R, 4>(row, column, weights),
                    3 => self.scores::<R, 3>(row, column, weights),
                    2 => self.scores::<R, 2>(row, column, weights),
                    _ => self.scores::<R, 1>(row, column, weights),
                };
        }
        let factors = self.exponentials::<R>(weights);
        let (width, size) = (self.query.heads.width(), self.query.heads.size);
        let mut column = 0;
        while column < size {
            column += S::F32_LANES
                * match (width - column) / S::F32_LANES {
                    2.. => self.outputs::<R, 2>(row, column, weights, factors),
                    _ => self.outputs::<R, 1>(row, column, weights, factors),
                };
        }
        R
    }

    /// Computes `V` registers of scores of each row, and returns `V`.
    #[inline(always)]
    fn scores<const R: usize, const V: usize>(&self, row: usize, column: usize, scores: &mut [f32]) -> usize {
        let (keys, size, HeadSlice { stride, offset, .. }) = (self.start.len(), self.query.heads.size, self.query);
        let rows: [&[f32]; R] = std::array::from_fn(|i| &self.qkv[(row + i) * stride + offset..][..size]);
        let mut sums = [load::<S, V>(&self.start[column..]); R];
        for (d, keys) in self.transposed.chunks_exact(keys).take(size).enumerate() {
            accumulate(self.simd, &mut sums, std::array::from_fn(|i| rows[i][d]), &keys[column..]);
        }
        for (scores, sums) in scores.chunks_exact_mut(keys).zip(sums) {
            store::<S, V>(sums, &mut scores[column..]);
        }
        V
    }

    /// Replaces the scores s of each row by exp((s − the largest)/√D), and returns 1/Σ of each row. If a score is NaN or ∞, its row's
    /// sum is NaN.
    #[inline(always)]
    fn exponentials<const R: usize>(&self, scores: &mut [f32]) -> [f32; R] {
        let (simd, keys, scale) = (self.simd, self.start.len(), self.query.heads.scale());
        // Row by row in each step, not step by step in each row: the rows' operations do not wait for each other.
        let mut shifts = [0.0; R];
        for (shift, row) in shifts.iter_mut().zip(scores.chunks_exact(keys)) {
            let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
            for score in S::as_simd_f32s(row).0 {
                largest = simd.max_f32s(largest, *score);
            }
            *shift = simd.reduce_max_f32s(largest);
        }
        let scale = simd.splat_f32s(scale);
        let mut sums = [simd.splat_f32s(0.0); R];
        for ((sum, shift), row) in sums.iter_mut().zip(shifts).zip(scores.chunks_exact_mut(keys)) {
            let shift = simd.splat_f32s(shift);
            for score in S::as_mut_simd_f32s(row).0 {
                // The largest is subtracted first, so that it gives exactly 0 however large it is.
                *score = exp_of_low(simd, simd.mul_f32s(simd.sub_f32s(*score, shift), scale));
                *sum = simd.add_f32s(*sum, *score);
            }
        }
        let mut factors = [0.0; R];
        for (factor, sum) in factors.iter_mut().zip(sums) {
            *factor = 1.0 / simd.reduce_sum_f32s(sum);
        }
        factors
    }

    /// Computes `V` registers of outputs of each row, and returns `V`.
    #[inline(always)]
    fn outputs<const R: usize, const V: usize>(
        &mut self,
        row: usize,
        column: usize,
        weights: &[f32],
        factors: [f32; R],
    ) -> usize {
        let (simd, width, keys) = (self.simd, self.query.heads.width(), self.start.len());
        let length = self.values.len() / width;
        let rows: [&[f32]; R] = std::array::from_fn(|i| &weights[i * keys..][..length]);
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (key, values) in self.values.chunks_exact(width).enumerate() {
            accumulate(simd, &mut sums, std::array::from_fn(|i| rows[i][key]), &values[column..]);
        }
        let count = (V * S::F32_LANES).min(self.query.heads.size - column);
        for (i, (mut sums, factor)) in sums.into_iter().zip(factors).enumerate() {
            sums.iter_mut().for_each(|sum| *sum = simd.mul_f32s(*sum, simd.splat_f32s(factor)));
            let first = (row + i) * self.place.stride + self.place.offset + column;
            let out = &mut self.out[first..first + count];
            if count == V * S::F32_LANES {
                store::<S, V>(sums, out);
            } else {
                let mut all = [0.0; 2 * ALIGN];
                store::<S, V>(sums, &mut all);
                out.copy_from_slice(&all[..count]);
            }
        }
        V
    }
}

#[inline(always)]
fn load<S: Simd, const V: usize>(numbers: &[f32]) -> [S::f32s; V] {
    let numbers = S::as_simd_f32s(&numbers[..V * S::F32_LANES]).0;
    std::array::from_fn(|i| numbers[i])
}

#[inline(always)]
fn store<S: Simd, const V: usize>(registers: [S::f32s; V], out: &mut [f32]) {
    let out = S::as_mut_simd_f32s(&mut out[..V * S::F32_LANES]).0;
    out.iter_mut().zip(registers).for_each(|(out, register)| *out = register);
}
