//! f32 products of few rows with weights that were rearranged before: what a model at work does all day.
//!
//! A panel holds the weights of 32 outputs, input by input, so that the product reads memory once and in order, each step of
//! it one line of weights and one number of each row of `x`. Bias and activation come while the result is in the first cache.

use pulp::{Simd, WithSimd};
use tch::{Kind, Tensor};

use super::simd::{Left, activate, dispatch, product};
use crate::config::Activation;
use crate::pool;

/// Outputs of a panel.
pub(crate) const WIDTH: usize = 32;

/// A dense layer y = f(x Wᵀ + b).
#[derive(Debug)]
pub(crate) struct Panels {
    inputs: usize,
    outputs: usize,
    activation: Option<Activation>,
    /// By panel [inputs, WIDTH], zeros beyond the last output.
    weights: Vec<f32>,
    /// [panels · WIDTH]
    bias: Vec<f32>,
}

impl Panels {
    /// Of `weight` [out, in] and `bias` \[out\], in any precision.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, activation: Option<Activation>) -> Self {
        let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
        let missing = outputs.unsigned_abs().next_multiple_of(WIDTH as u64).cast_signed() - outputs;
        let padded = |x: &Tensor, pad: &[i64]| x.to_kind(Kind::Float).constant_pad_nd(pad);
        let weights = padded(weight, &[0, 0, 0, missing]).view([-1, WIDTH as i64, inputs]).transpose(1, 2);
        Self {
            inputs: inputs as usize,
            outputs: outputs as usize,
            activation,
            weights: numbers(&weights),
            bias: numbers(&padded(bias, &[0, missing])),
        }
    }

    /// Numbers of a row of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `x` [n, in] → `out` [n, out]; `blocks` is room to work in.
    pub(crate) fn forward(&self, x: &[f32], blocks: &mut Vec<f32>, out: &mut [f32]) {
        let rows = x.len() / self.inputs;
        let len = rows * self.bias.len();
        if blocks.len() < len {
            blocks.resize(len, 0.0);
        }
        let blocks = &mut blocks[..len];
        let weights = self.weights.chunks_exact(self.inputs * WIDTH).zip(self.bias.chunks_exact(WIDTH));
        let pieces = weights.zip(blocks.chunks_exact_mut(rows * WIDTH));
        pool::for_each(pieces, |((weights, bias), out)| {
            dispatch(Piece { x, inputs: self.inputs, weights, bias, activation: self.activation, out });
        });
        for (row, out) in out.chunks_exact_mut(self.outputs).enumerate() {
            for (out, block) in out.chunks_mut(WIDTH).zip(blocks.chunks_exact(rows * WIDTH)) {
                out.copy_from_slice(&block[row * WIDTH..][..out.len()]);
            }
        }
    }
}

/// The entries of an f32 tensor in their order.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f32> {
    let mut out = vec![0.0; tensor.numel()];
    tensor.contiguous().copy_data(&mut out, tensor.numel());
    out
}

/// One panel's outputs.
struct Piece<'a> {
    x: &'a [f32],
    inputs: usize,
    weights: &'a [f32],
    bias: &'a [f32],
    activation: Option<Activation>,
    /// [n, WIDTH]
    out: &'a mut [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.x.len() / self.inputs;
        product(simd, Left::Rows(self.x, self.inputs), self.weights, (rows, self.inputs, WIDTH), self.out);
        let bias = S::as_simd_f32s(self.bias).0;
        for row in self.out.chunks_exact_mut(WIDTH) {
            for (out, bias) in S::as_mut_simd_f32s(row).0.iter_mut().zip(bias) {
                let sum = simd.add_f32s(*out, *bias);
                *out = self.activation.map_or(sum, |activation| activate(simd, activation, sum));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// Outputs that fill no panel, rows around those of a tile; small integers, so that every sum is exact.
    #[test]
    fn the_product_is_libtorchs() {
        let integers = |size: &[i64], factor: i64| {
            let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu)) * factor;
            (all.remainder(11) - 5).to_kind(Kind::Float).view(size)
        };
        for (rows, inputs, outputs) in [(1, 7, 3), (9, 48, 200), (12, 33, 32), (17, 5, 97), (32, 64, 64)] {
            let (x, weight, bias) =
                (integers(&[rows, inputs], 7), integers(&[outputs, inputs], 3), integers(&[outputs], 5));
            for activation in [None, Some(Activation::Relu)] {
                let panels = Panels::new(&weight, &bias, activation);
                let mut out = vec![f32::NAN; (rows * outputs) as usize];
                panels.forward(&numbers(&x), &mut Vec::new(), &mut out);
                let expected = x.linear(&weight, Some(&bias));
                let expected = activation.map_or(expected.shallow_clone(), |activation| activation.forward(&expected));
                assert_eq!(out, numbers(&expected), "{rows} {inputs} {outputs} {activation:?}");
            }
        }
    }
}
