//! Matrices rearranged for [`super::tile`]: neighbours along the sum side by side, columns in panels.

use half::bf16;

use super::tile::{COLUMNS, Dots, SQUARE, STEP};
use crate::host::Element;
use crate::kernel::simd::dispatch;

/// Entries of all panels of a right matrix [k, n].
pub(super) fn panels_len(k: usize, n: usize) -> usize {
    panel_len(k) * n.div_ceil(COLUMNS)
}

/// Entries of one panel of a right matrix of `k` rows.
pub(super) fn panel_len(k: usize) -> usize {
    k.div_ceil(2) * STEP
}

/// Panel `index` of the transpose of `x` [n, k], k even: columns of the right matrix are rows of `x`.
pub(super) fn transposed(dots: Dots, x: &[bf16], k: usize, index: usize, panel: &mut [bf16]) {
    let rows = &x[index * COLUMNS * k..];
    let rows = &rows[..rows.len().min(COLUMNS * k)];
    let found = rows.len() / k;
    let whole = k / 2 / SQUARE * SQUARE; // pairs
    for (column, rows) in rows.chunks(SQUARE * k).enumerate() {
        let column = column * SQUARE;
        let is_whole = rows.len() == SQUARE * k;
        for (square, steps) in panel.chunks_exact_mut(SQUARE * STEP).enumerate().filter(|_| is_whole) {
            dots.transpose(&rows[2 * SQUARE * square..], k, &mut steps[2 * column..]);
        }
        let first = if is_whole { whole } else { 0 };
        for (column, row) in (column..).zip(rows.chunks_exact(k)) {
            for (pair, step) in row.chunks_exact(2).zip(panel.chunks_exact_mut(STEP)).skip(first) {
                step[2 * column..2 * column + 2].copy_from_slice(pair);
            }
        }
    }
    panel.chunks_exact_mut(STEP).for_each(|step| step[2 * found..].fill(bf16::ZERO));
}

/// Columns `first`, … of `x` [k, n] as they are, as many as fit into a step of `pairs`: for each two rows, `width` pairs.
pub(super) fn interleaved(x: &[bf16], n: usize, first: usize, width: usize, pairs: &mut [bf16]) {
    let there = width.min(n - first);
    dispatch(|| {
        for (rows, step) in x.chunks(2 * n).zip(pairs.chunks_exact_mut(2 * width)) {
            let (upper, lower) = rows.split_at(n);
            let (step, beyond) = step.split_at_mut(2 * there);
            beyond.fill(bf16::ZERO);
            let upper = &upper[first..first + there];
            match lower.get(first..first + there) {
                Some(lower) => {
                    for (pair, (upper, lower)) in step.chunks_exact_mut(2).zip(upper.iter().zip(lower)) {
                        pair[0] = *upper;
                        pair[1] = *lower;
                    }
                }
                None => {
                    for (pair, upper) in step.chunks_exact_mut(2).zip(upper) {
                        pair[0] = *upper;
                        pair[1] = bf16::ZERO;
                    }
                }
            }
        }
    });
}

/// Adds the sums of the columns `first`, … of `x` [k, n] to `sums`.
pub(super) fn add_sums(x: &[bf16], n: usize, first: usize, sums: &mut [f32]) {
    dispatch(|| {
        let mut own = vec![0.0_f32; sums.len()];
        for row in x.chunks_exact(n) {
            own.iter_mut().zip(&row[first..]).for_each(|(sum, x)| *sum += Element::to_f32(*x));
        }
        sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    });
}
