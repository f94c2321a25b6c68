//! Products of few rows of f32 with weights that were rearranged before: what a model at work does all day.
//!
//! A panel holds the weights of 32 outputs, input by input, so that the product reads memory once and in order, each step of
//! it one line of weights and one number of each row of `x`. Bias and activation come while the result is in the first cache.

use pulp::{Simd, WithSimd};
use tch::{Kind, Tensor};

use super::simd::{WIDTH, activate, dispatch, paired, product_of_panel};
use crate::config::Activation;
use crate::pool;

/// A dense layer y = f(x Wᵀ + b).
#[derive(Debug)]
pub(crate) struct Panels {
    inputs: usize,
    outputs: usize,
    activation: Option<Activation>,
    /// By panel [inputs, WIDTH], zeros beyond the last output.
    weights: Weights,
    /// [panels · WIDTH]
    bias: Vec<f32>,
}

/// As precise as they were.
#[derive(Debug)]
enum Weights {
    F32(Vec<f32>),
    /// bf16, two in a word.
    Pairs(Vec<u32>),
}

/// The weights of one panel.
#[derive(Debug, Clone, Copy)]
enum Panel<'a> {
    F32(&'a [f32]),
    Pairs(&'a [u32]),
}

impl Weights {
    /// The `i`-th of `count` panels.
    fn panel(&self, i: usize, count: usize) -> Panel<'_> {
        fn part<T>(all: &[T], i: usize, count: usize) -> &[T] {
            let len = all.len() / count;
            &all[i * len..(i + 1) * len]
        }
        match self {
            Self::F32(all) => Panel::F32(part(all, i, count)),
            Self::Pairs(all) => Panel::Pairs(part(all, i, count)),
        }
    }
}

impl Panels {
    /// Of `weight` [out, in] and `bias` \[out\], in any precision.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, activation: Option<Activation>) -> Self {
        let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
        let missing = outputs.unsigned_abs().next_multiple_of(WIDTH as u64).cast_signed() - outputs;
        let padded = |x: &Tensor, pad: &[i64]| x.to_kind(Kind::Float).constant_pad_nd(pad);
        let panels = padded(weight, &[0, 0, 0, missing]).view([-1, WIDTH as i64, inputs]).transpose(1, 2);
        let panels = numbers(&panels);
        Self {
            inputs: inputs as usize,
            outputs: outputs as usize,
            activation,
            weights: if weight.kind() == Kind::BFloat16 {
                Weights::Pairs(paired(&panels))
            } else {
                Weights::F32(panels)
            },
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
        let count = self.bias.len() / WIDTH;
        let pieces = self.bias.chunks_exact(WIDTH).zip(blocks.chunks_exact_mut(rows * WIDTH));
        pool::for_each(pieces.enumerate(), |(i, (bias, out))| {
            let weights = self.weights.panel(i, count);
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
    weights: Panel<'a>,
    bias: &'a [f32],
    activation: Option<Activation>,
    /// [n, WIDTH]
    out: &'a mut [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.weights {
            Panel::F32(weights) => product_of_panel(simd, self.x, weights, self.inputs, self.out),
            Panel::Pairs(words) => product_of_panel(simd, self.x, words, self.inputs, self.out),
        }
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
    use crate::kernel::activation::TensorActivation;

    /// Outputs that fill no panel, rows around those of a tile; small integers, so that every sum is exact.
    #[test]
    fn the_product_is_libtorchs() {
        let integers = |size: &[i64], factor: i64| {
            let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu)) * factor;
            (all.remainder(11) - 5).to_kind(Kind::Float).view(size)
        };
        for (rows, inputs, outputs) in
            (1..=13).map(|rows| (rows, 7, 35)).chain([(9, 48, 200), (17, 5, 97), (25, 3, 1), (32, 64, 64)])
        {
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

    /// Any numbers: sums of the same products in the same order.
    #[test]
    fn weights_in_bf16_are_those_in_f32_to_the_bit() {
        let numbers_of = |size: &[i64]| {
            (Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)) * 0.7).sin().view(size)
        };
        for (rows, inputs, outputs) in [(1, 7, 3), (9, 48, 200), (12, 33, 32), (32, 64, 64)] {
            let x = numbers(&numbers_of(&[rows, inputs]));
            let weight = numbers_of(&[outputs, inputs]).to_kind(Kind::BFloat16);
            let bias = numbers_of(&[outputs]).to_kind(Kind::BFloat16);
            let run = |weight: &Tensor| {
                let mut out = vec![f32::NAN; (rows * outputs) as usize];
                Panels::new(weight, &bias, Some(Activation::Gelu)).forward(&x, &mut Vec::new(), &mut out);
                out
            };
            assert_eq!(run(&weight), run(&weight.to_kind(Kind::Float)), "{rows} {inputs} {outputs}");
        }
    }
}
