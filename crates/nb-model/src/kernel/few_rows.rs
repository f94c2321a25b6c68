//! f32 products of few rows on the CPU: one short text through the encoder.
//!
//! BLAS rearranges the weights before it multiplies, which for a text of ten tokens takes as long as the product. Here the
//! weights are read as they lie, once, and the text is what is rearranged: yᵀ [out, n] = W [out, in] · xᵀ [in, n].

use pulp::{Simd, WithSimd};
use tch::{Device, Kind, Tensor};

use super::simd::{ALIGN, Left, dispatch, product};
use crate::host::with_slices;
use crate::pool;

/// Rows up to which this is faster.
const MOST_ROWS: i64 = 32;
/// Outputs per parallel piece, a multiple of the rows of a tile.
const PIECE: usize = 96;

/// Whether the products of rows `x` [n, in] belong here.
pub(crate) fn pays(x: &Tensor) -> bool {
    (1..=MOST_ROWS).contains(&x.size()[0]) && x.kind() == Kind::Float && x.device() == Device::Cpu
}

/// `x` Wᵀ + b, [n, out].
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let (rows, inputs, outputs) = (x.size()[0], x.size()[1], weight.size()[0]);
    let mut out = Tensor::empty([rows, outputs], (Kind::Float, Device::Cpu));
    with_slices([&x.contiguous(), weight, bias], [&mut out], |[x, weight, bias], [out]| {
        let width = (rows as usize).next_multiple_of(ALIGN);
        let columns = transposed(x, inputs as usize, width);
        let mut sums = vec![0.0; outputs as usize * width];
        let pieces = weight.chunks(PIECE * inputs as usize).zip(sums.chunks_mut(PIECE * width));
        pool::for_each(pieces, |(weight, sums)| {
            dispatch(Piece { weight, columns: &columns, inputs: inputs as usize, width, sums });
        });
        for (i, out) in out.chunks_exact_mut(outputs as usize).enumerate() {
            for ((out, sums), bias) in out.iter_mut().zip(sums.chunks_exact(width)).zip(bias) {
                *out = sums[i] + bias;
            }
        }
    });
    out
}

/// `x` [n, in] as [in, width], zeros at its right.
fn transposed(x: &[f32], inputs: usize, width: usize) -> Vec<f32> {
    let mut columns = vec![0.0; inputs * width];
    for (i, row) in x.chunks_exact(inputs).enumerate() {
        columns.iter_mut().skip(i).step_by(width).zip(row).for_each(|(to, from)| *to = *from);
    }
    columns
}

/// Some of the outputs.
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
        let outputs = self.weight.len() / self.inputs;
        let left = Left::Rows(self.weight, self.inputs);
        product(simd, left, self.columns, (outputs, self.inputs, self.width), self.sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of rows around a register's width, numbers of outputs that no tile divides; small integers, so that every
    /// sum is exact.
    #[test]
    fn the_product_is_libtorchs() {
        let integers = |rows: i64, columns: i64, factor: i64| {
            let all = Tensor::arange(rows * columns, (Kind::Int64, Device::Cpu)) * factor;
            (all.remainder(11) - 5).to_kind(Kind::Float).view([rows, columns])
        };
        for (rows, inputs, outputs) in [(1, 7, 3), (9, 48, 200), (16, 33, 96), (17, 5, 97), (32, 64, 1)] {
            let (x, weight) = (integers(rows, inputs, 7), integers(outputs, inputs, 3));
            let bias = integers(1, outputs, 5).view([outputs]);
            assert!(pays(&x));
            assert!(forward(&x, &weight, &bias).equal(&x.linear(&weight, Some(&bias))), "{rows} {inputs} {outputs}");
            assert!(forward(&x.tr().contiguous().tr(), &weight, &bias).equal(&x.linear(&weight, Some(&bias))));
        }
    }

    #[test]
    fn more_rows_none_and_other_kinds_stay_with_libtorch() {
        let rows = |n: i64| Tensor::zeros([n, 4], (Kind::Float, Device::Cpu));
        assert!(!pays(&rows(0)) && !pays(&rows(MOST_ROWS + 1)) && !pays(&rows(4).to_kind(Kind::BFloat16)));
    }
}
