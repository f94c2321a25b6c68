//! f32 products of few rows, as for one short text in the encoder.
//!
//! BLAS packs the weights before it multiplies, which takes as long as the product for a text of ten tokens. Here the weights
//! are read in place, once, and the text is transposed instead: yᵀ [out, n] = W [out, in] · xᵀ [in, n].

use pulp::{Simd, WithSimd};

use super::operands::Matrix;
use crate::simd::{ALIGN, Operand, Rhs, dispatch, multiply_small};
use crate::threads;

/// Maximum number of rows for which this is faster than packing the weights.
pub const MOST_ROWS: usize = 32;
/// Outputs per parallel piece, a multiple of the rows of a tile.
const PIECE: usize = 96;

/// Writes `x` Wᵀ + b [n, out] to `out`, for `x` [n, in] and `weight` W [out, in], on all threads.
///
/// # Panics
///
/// If shapes do not match.
///
/// ```
/// use nb_kernels::gemm::{Matrix, skinny};
/// let x = Matrix { entries: &[1.0, 2.0], columns: 2 };
/// let weight = Matrix { entries: &[1.0, 0.0, 3.0, 1.0], columns: 2 };
/// let mut out = [0.0; 2];
/// skinny::linear(x, weight, &[0.5, 0.0], &mut out);
/// assert_eq!(out, [1.5, 5.0]);
/// ```
pub fn linear(x: Matrix<'_, f32>, weight: Matrix<'_, f32>, bias: &[f32], out: &mut [f32]) {
    let (rows, inputs, outputs) = (x.rows(), x.columns, weight.rows());
    assert_eq!(inputs, weight.columns, "columns of the input against those of the weights");
    assert_eq!([bias.len(), out.len()], [outputs, rows * outputs], "entries of the bias and of the result");
    let width = rows.next_multiple_of(ALIGN);
    let columns = transposed(x, width);
    let mut sums = vec![0.0; outputs * width];
    let pieces = weight.entries.chunks(PIECE * inputs).zip(sums.chunks_mut(PIECE * width));
    threads::for_each(pieces, |(weight, sums)| {
        dispatch(Piece { weight, columns: &columns, inputs, width, sums });
    });
    for (i, out) in out.chunks_exact_mut(outputs).enumerate() {
        for (output, out) in out.iter_mut().enumerate() {
            *out = sums[output * width + i] + bias[output];
        }
    }
}

/// Returns the transpose of `x` [n, in] as [in, width], with zeros on the right.
fn transposed(x: Matrix<'_, f32>, width: usize) -> Vec<f32> {
    let mut columns = vec![0.0; x.columns * width];
    for (i, row) in x.entries.chunks_exact(x.columns).enumerate() {
        for (column, entry) in row.iter().enumerate() {
            columns[column * width + i] = *entry;
        }
    }
    columns
}

/// The computation of some of the outputs.
struct Piece<'a> {
    weight: &'a [f32],
    columns: &'a [f32],
    inputs: usize,
    width: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let left = Operand::Rows { entries: self.weight, stride: self.inputs };
        let right = Rhs { entries: self.columns, rows: self.inputs, columns: self.width };
        multiply_small(simd, left, right, self.sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers numbers of rows around a register's width, and numbers of outputs that do not fill tiles. Every sum of small
    /// integers is exact.
    #[test]
    fn the_product_matches_the_definition() {
        let integers =
            |len: usize, factor: usize| -> Vec<f32> { (0..len).map(|i| (i * factor % 11) as f32 - 5.0).collect() };
        for (rows, inputs, outputs) in [(1, 7, 3), (9, 48, 200), (16, 33, 96), (17, 5, 97), (32, 64, 1)] {
            let (x, weight) = (integers(rows * inputs, 7), integers(outputs * inputs, 3));
            let bias = integers(outputs, 5);
            let mut out = vec![f32::NAN; rows * outputs];
            let matrix = |entries| Matrix { entries, columns: inputs };
            linear(matrix(&x), matrix(&weight), &bias, &mut out);
            for (i, found) in out.into_iter().enumerate() {
                let (row, output) = (i / outputs, i % outputs);
                let products = (0..inputs).map(|k| x[row * inputs + k] * weight[output * inputs + k]);
                assert_eq!(found, products.sum::<f32>() + bias[output], "{rows} {inputs} {outputs}: {i}");
            }
        }
    }
}
