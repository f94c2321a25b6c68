//! Numbers in int8. Weights are symmetric, from −127 to 127; inputs have a number that stands for zero.
//!
//! Inputs are unsigned, as x86's instructions want them: onnxruntime converts signed ones, but not those of several products.

use nb_kernels::gemm::{Int8Weights, Matrix};

use super::calibration::InputRange;

/// The largest int8 that is used. −128 has no counterpart.
const LARGEST: f32 = 127.0;
/// The largest uint8.
const LARGEST_UNSIGNED: f32 = 255.0;

/// The rows of a matrix in int8, each with its own scale.
pub(super) struct QuantisedRows {
    /// Row by row.
    pub(super) numbers: Vec<i8>,
    /// By row: the value of a step.
    pub(super) scales: Vec<f32>,
}

impl QuantisedRows {
    /// Rounds the rows of a matrix of `columns` columns.
    pub(super) fn new(matrix: &[f32], columns: usize) -> Self {
        let Int8Weights { entries, mut scales } = Int8Weights::quantise(Matrix { entries: matrix, columns });
        scales.iter_mut().for_each(|scale| *scale = at_least_normal(*scale)); // runtimes refuse a scale of 0
        let numbers = entries;
        Self { numbers, scales }
    }
}

/// The number that stands for 0, and the type of rounded inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Zero {
    /// 0, in int8.
    Signed,
    /// This number, in uint8.
    Unsigned(u8),
}

/// The rounding of numbers x in a range: x / scale + zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rounding {
    /// The value of a step.
    pub(super) scale: f32,
    pub(super) zero: Zero,
}

impl Rounding {
    /// Returns the rounding that uses all numbers for a range; for a symmetric range, 0 stands for 0.
    pub(super) fn of(InputRange { least, largest }: InputRange) -> Self {
        if least == -largest {
            return Self { scale: scale(largest), zero: Zero::Signed };
        }
        let scale = at_least_normal((largest - least) / LARGEST_UNSIGNED);
        let zero = (-least / scale).round_ties_even();
        Self { scale, zero: Zero::Unsigned(zero as u8) } // the range includes 0, and the conversion saturates
    }
}

/// Returns the step with which numbers up to `largest` fit into int8. It is not 0: runtimes divide by it.
fn scale(largest: f32) -> f32 {
    at_least_normal(largest / LARGEST)
}

fn at_least_normal(scale: f32) -> f32 {
    if scale.is_normal() { scale } else { f32::MIN_POSITIVE }
}

/// Returns a matrix of `columns` columns, transposed.
pub(super) fn transposed<T: Copy>(matrix: &[T], columns: usize) -> Vec<T> {
    let rows = matrix.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_uses_the_full_range_and_zeros_stay_zeros() {
        let rows = QuantisedRows::new(&[1.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.3, 25.4, -12.7], 3);
        assert_eq!(rows.numbers, [127, -64, 0, 0, 0, 0, 2, 127, -64]);
        for (scale, expected) in rows.scales.iter().zip([1.0 / 127.0, f32::MIN_POSITIVE, 0.2]) {
            assert!((scale - expected).abs() < 1e-7, "{scale}, expected {expected}");
        }
    }

    #[test]
    fn the_error_of_a_number_is_at_most_half_a_step() {
        let row: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let rows = QuantisedRows::new(&row, row.len());
        for (x, number) in row.iter().zip(&rows.numbers) {
            let error = (x - f32::from(*number) * rows.scales[0]).abs();
            assert!(error <= 0.5001 * rows.scales[0], "{x}: off by {error}");
        }
    }

    #[test]
    fn ranges_use_all_numbers_and_zero_is_exact() {
        let of = |least, largest| Rounding::of(InputRange { least, largest });
        assert_eq!(of(-12.7, 12.7), Rounding { scale: 0.1, zero: Zero::Signed });
        assert_eq!(of(0.0, 25.5), Rounding { scale: 0.1, zero: Zero::Unsigned(0) });
        assert_eq!(of(-25.5, 0.0), Rounding { scale: 0.1, zero: Zero::Unsigned(255) });
        for (least, largest) in [(-0.17_f32, 20.0_f32), (-28.0, 3.0), (-1e-30, 2e-30)] {
            let Rounding { scale, zero: Zero::Unsigned(zero) } = of(least, largest) else { panic!("{least}") };
            for x in [least, largest, least / 3.0, largest / 3.0] {
                let number = (x / scale).round_ties_even() + f32::from(zero);
                // The rounding of zero itself can cut off half a step at an end.
                assert!((-0.6..=255.6).contains(&number), "{x} is {number}");
            }
        }
    }

    #[test]
    fn transposed_columns_are_rows() {
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], 3), [1, 4, 2, 5, 3, 6]);
    }
}
