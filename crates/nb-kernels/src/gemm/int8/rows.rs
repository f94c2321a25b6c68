//! Rows quantised to 8 bits.

use std::ops::Range;

use pulp::Arch;

use super::layout::WORD;
use crate::gemm::operands::MicroPanel;

/// Adding this number to an f32 between −2²² and 2²² rounds it to an integer, ties to even, in the lowest bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Rows of numbers, each quantised to 8 bits with its own scale. The buffer is reused from call to call.
#[derive(Debug, Default)]
pub struct Int8Rows {
    columns: usize,
    /// q + 128 [rows, stride], padded with 128; then arbitrary numbers. It never shrinks, since filling it takes time.
    entries: Vec<u8>,
    /// s_r \[rows\].
    scales: Vec<f32>,
}

impl Int8Rows {
    /// Quantises the rows of `x` [n, columns], and discards previous rows. The scale of a row with NaN or infinity is NaN.
    ///
    /// # Panics
    ///
    /// If `columns` is 0, or if the last row is incomplete.
    pub fn quantise(&mut self, x: &[f32], columns: usize) {
        assert!(columns > 0 && x.len().is_multiple_of(columns), "{} entries in rows of {columns}", x.len());
        self.columns = columns;
        let (rows, stride) = (x.len() / columns, self.stride());
        if self.entries.len() < rows * stride {
            self.entries.resize(rows * stride, 128);
        }
        self.scales.resize(rows, 0.0);
        let rows = x.chunks_exact(columns).zip(self.entries.chunks_exact_mut(stride)).zip(&mut self.scales);
        Arch::new().dispatch(|| {
            for ((x, entries), scale) in rows {
                let (entries, padding) = entries.split_at_mut(columns);
                *scale = quantise_row(x, entries);
                padding.fill(128);
            }
        });
    }

    /// Returns the number of entries in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Returns the distance between two rows: the columns, rounded up to complete words.
    pub(super) fn stride(&self) -> usize {
        self.columns.next_multiple_of(WORD)
    }

    /// Returns a range of the rows as the left matrix of a micro-tile.
    pub(super) fn micro_panel(&self, rows: Range<usize>) -> MicroPanel<'_, u8> {
        let (row_stride, count) = (self.stride(), rows.len());
        let entries = &self.entries[rows.start * row_stride..rows.end * row_stride];
        MicroPanel { entries, row_stride, word_stride: WORD, rows: count }
    }

    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }
}

/// The step of numbers in 8 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The distance between two numbers.
    pub(super) scale: f32,
    /// 1 / `scale`, or 0 if all numbers count as 0.
    pub(super) inverse: f32,
}

impl Step {
    /// The step for numbers up to `largest`. If these are so small that the inverse of the step is no f32, all of them count as 0.
    /// If they are not finite, the scale is NaN.
    pub(super) fn of(largest: f32) -> Self {
        let inverse = 127.0 / largest;
        match (largest.is_finite(), inverse.is_finite()) {
            (true, true) => Self { scale: largest / 127.0, inverse },
            (true, false) => Self { scale: 0.0, inverse: 0.0 },
            (false, _) => Self { scale: f32::NAN, inverse: 0.0 },
        }
    }
}

/// Returns the largest |x|: NaN if there is a NaN, else infinity if there is one.
#[inline(always)]
pub(super) fn max_abs(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |most, x| most.max(x.abs().to_bits()))) // ordered as |x|, NaN above infinity
}

/// Writes q + 128, and returns the scale.
#[inline(always)]
fn quantise_row(x: &[f32], out: &mut [u8]) -> f32 {
    let Step { scale, inverse } = Step::of(max_abs(x));
    for (out, x) in out.iter_mut().zip(x) {
        *out = ((x * inverse + ROUND).to_bits() as u8) ^ 0x80;
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_quantised_to_the_nearest_step_of_their_own_scale() {
        let mut rows = Int8Rows::default();
        rows.quantise(&[9.0; 50], 5);
        rows.quantise(&[127.0, -127.0, 0.5, 1.5, -2.5, 0.0, 0.0, 0.0, 0.0, 0.0], 5);
        assert_eq!((rows.rows(), rows.columns(), rows.stride()), (2, 5, 8));
        assert_eq!(rows.entries[..16], [255, 1, 128, 130, 126, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128]);
        assert_eq!(rows.scales(), [1.0, 0.0]);
    }

    #[test]
    fn numbers_that_are_not_finite_are_not_hidden() {
        let mut rows = Int8Rows::default();
        rows.quantise(&[1.0, f32::NAN, f32::NEG_INFINITY, 2.0, 1e-38, 1e-40], 2);
        assert!(rows.scales()[..2].iter().all(|scale| scale.is_nan()), "{:?}", rows.scales());
        assert_eq!((&rows.entries[8..10], rows.scales()[2]), (&[128, 128][..], 0.0)); // too small: 0
    }
}
