//! Matrices rearranged for [`super::tile`]: neighbours along the sum side by side, columns in panels.

use super::number::Number;
use super::tile::{COLUMNS, step};
use crate::kernel::simd::{SQUARE, transpose};

/// Entries of all panels of a right matrix [k, n].
pub(super) fn panels_len<T: Number>(k: usize, n: usize) -> usize {
    panel_len::<T>(k) * n.div_ceil(COLUMNS)
}

/// Entries of one panel of a right matrix of `k` rows.
pub(super) fn panel_len<T: Number>(k: usize) -> usize {
    k.div_ceil(T::IN_WORD) * step::<T>()
}

/// Panel `index` of the transpose of `x` [n, k], k in whole words: columns of the right matrix are rows of `x`.
pub(super) fn transposed<T: Number>(x: &[T], k: usize, index: usize, panel: &mut [T]) {
    let word = T::IN_WORD;
    let rows = &x[index * COLUMNS * k..];
    let rows = &rows[..rows.len().min(COLUMNS * k)];
    let found = rows.len() / k;
    let whole = k / word / SQUARE * SQUARE; // words
    for (column, rows) in rows.chunks(SQUARE * k).enumerate() {
        let column = column * SQUARE;
        let is_whole = rows.len() == SQUARE * k;
        for (square, steps) in panel.chunks_exact_mut(SQUARE * step::<T>()).enumerate().filter(|_| is_whole) {
            transpose(&rows[word * SQUARE * square..], k, &mut steps[word * column..], step::<T>());
        }
        let first = if is_whole { whole } else { 0 };
        for (column, row) in (column..).zip(rows.chunks_exact(k)) {
            for (words, step) in row.chunks_exact(word).zip(panel.chunks_exact_mut(step::<T>())).skip(first) {
                step[word * column..word * (column + 1)].copy_from_slice(words);
            }
        }
    }
    panel.chunks_exact_mut(step::<T>()).for_each(|step| step[word * found..].fill(T::ZERO));
}
