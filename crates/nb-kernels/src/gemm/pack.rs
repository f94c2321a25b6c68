//! Matrices rearranged for the microkernel: neighbours along the sum are side by side, and columns form panels.

use super::element::Element;
use super::operands::{Matrix, NR, in_word, step};
use crate::simd::{SQUARE, transpose};

/// Returns the number of entries of all panels of a right matrix [k, n].
pub(super) fn panels_len<T: Element>(k: usize, n: usize) -> usize {
    panel_len::<T>(k) * n.div_ceil(NR)
}

/// Returns the number of entries of one panel of a right matrix of `k` rows.
pub(super) fn panel_len<T: Element>(k: usize) -> usize {
    k.div_ceil(in_word::<T>()) * step::<T>()
}

/// Packs panel `index` of the transpose of `x` [n, k], where k entries are complete words. Columns of the right matrix are rows
/// of `x`.
pub(super) fn transposed<T: Element>(x: Matrix<'_, T>, index: usize, panel: &mut [T]) {
    let (k, word) = (x.columns, in_word::<T>());
    let rows = &x.entries[index * NR * k..];
    let rows = &rows[..rows.len().min(NR * k)];
    let found = rows.len() / k;
    for (block, rows) in rows.chunks(SQUARE * k).enumerate() {
        let first_column = block * SQUARE;
        // The number of words transposed in squares; the rest are copied one by one.
        let done = if rows.len() == SQUARE * k { transpose_squares(rows, k, first_column, panel) } else { 0 };
        for (column, row) in (first_column..).zip(rows.chunks_exact(k)) {
            let steps = panel.chunks_exact_mut(step::<T>());
            for (words, step) in row.chunks_exact(word).zip(steps).skip(done) {
                step[word * column..word * (column + 1)].copy_from_slice(words);
            }
        }
    }
    panel.chunks_exact_mut(step::<T>()).for_each(|step| step[word * found..].fill(T::ZERO));
}

/// Transposes all complete squares of [`SQUARE`] rows into the columns from `first_column` on, and returns the number of words
/// per row that they cover.
fn transpose_squares<T: Element>(rows: &[T], k: usize, first_column: usize, panel: &mut [T]) -> usize {
    let word = in_word::<T>();
    for (square, steps) in panel.chunks_exact_mut(SQUARE * step::<T>()).enumerate() {
        transpose(&rows[word * SQUARE * square..], k, &mut steps[word * first_column..], step::<T>());
    }
    k / word / SQUARE * SQUARE
}
