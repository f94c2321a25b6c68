//! Plain data that the parts of a product exchange: shapes and views.

use std::ops::Range;

/// Rows of a micro-tile.
pub(super) const MR: usize = 6;
/// Columns of a micro-tile: four registers of 16. The sums of a micro-tile take 24 of the 32 registers.
pub(super) const NR: usize = 64;
/// The sums of a micro-tile.
pub(super) type MicroTile = [[f32; NR]; MR];

/// Entries in a word of 32 bits: 1 of f32, 2 of bf16.
pub(super) const fn in_word<T>() -> usize {
    4 / size_of::<T>()
}

/// Entries of one step of a packed panel of the right matrix: a word for each column.
pub(super) const fn step<T>() -> usize {
    in_word::<T>() * NR
}

/// A matrix in row-major order.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    /// The entries, row by row.
    pub entries: &'a [T],
    /// Entries per row.
    pub columns: usize,
}

impl<T: Copy> Matrix<'_, T> {
    /// Returns the number of rows.
    ///
    /// # Panics
    ///
    /// If a row has no entries.
    pub fn rows(self) -> usize {
        self.entries.len() / self.columns
    }

    /// Returns a range of the rows.
    pub(super) fn slice_rows(self, rows: Range<usize>) -> Self {
        Self { entries: &self.entries[rows.start * self.columns..rows.end * self.columns], ..self }
    }
}

/// Up to [`MR`] rows of a left matrix, which is read in words.
#[derive(Debug, Clone, Copy)]
pub struct MicroPanel<'a, T> {
    /// Word k of row i begins at i·`row_stride` + k·`word_stride`.
    pub(super) entries: &'a [T],
    pub(super) row_stride: usize,
    pub(super) word_stride: usize,
    /// Number of rows, 1 to [`MR`].
    pub(super) rows: usize,
}

/// A range of the columns of a matrix.
#[derive(Debug, Clone)]
pub struct Columns<'a, T> {
    pub(super) matrix: Matrix<'a, T>,
    pub(super) range: Range<usize>,
}

impl<'a, T: Copy> Columns<'a, T> {
    /// Returns part `index` of the columns of `matrix`, split into parts of `width` columns; the last part has the rest.
    pub(super) fn part(matrix: Matrix<'a, T>, index: usize, width: usize) -> Self {
        let first = index * width;
        Self { matrix, range: first..matrix.columns.min(first + width) }
    }
}
