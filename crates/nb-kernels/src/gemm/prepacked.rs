//! f32 products of few rows with weights packed in advance, as for a model in production.
//!
//! A panel holds the weights of 32 outputs, input by input. A product therefore reads memory once and in order: each step takes
//! one line of weights and one number of each row of `x`. Bias and activation are applied while the result is in the L1 cache.

use pulp::{Simd, WithSimd};

use super::operands::Matrix;
use crate::activation::Activation;
use crate::float::Float;
use crate::simd::{WIDTH, activate, dispatch, multiply_panel, pair_up};
use crate::threads;

/// A dense layer y = f(x Wᵀ + b) with packed weights.
///
/// ```
/// use nb_kernels::gemm::{Matrix, PackedLinear};
/// let weight = Matrix { entries: &[1.0_f32, 0.0, 3.0, 1.0], columns: 2 };
/// let layer = PackedLinear::new(weight, &[0.5, 0.0], None);
/// let mut out = [0.0; 2];
/// layer.forward(&[1.0, 2.0], &mut Vec::new(), &mut out);
/// assert_eq!(out, [1.5, 5.0]);
/// ```
#[derive(Debug)]
pub struct PackedLinear {
    inputs: usize,
    outputs: usize,
    activation: Option<Activation>,
    /// Panels [inputs, WIDTH], with zeros beyond the last output.
    weights: Weights,
    /// [panels · WIDTH]
    bias: Vec<f32>,
}

/// Packed weights in their original precision.
#[derive(Debug)]
enum Weights {
    F32(Vec<f32>),
    /// Two bf16 weights per word.
    Pairs(Vec<u32>),
}

/// The weights of one panel.
#[derive(Debug, Clone, Copy)]
enum Panel<'a> {
    F32(&'a [f32]),
    Pairs(&'a [u32]),
}

impl Weights {
    /// Returns panel `i` of `count`.
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

impl PackedLinear {
    /// Packs `weight` W [out, in] and `bias` \[out\].
    ///
    /// # Panics
    ///
    /// If the bias does not have one entry per output, or if there are no outputs.
    pub fn new<T: Float>(weight: Matrix<'_, T>, bias: &[T], activation: Option<Activation>) -> Self {
        let (inputs, outputs) = (weight.columns, weight.rows());
        assert!(outputs > 0 && bias.len() == outputs, "a bias of {} entries for {outputs} outputs", bias.len());
        let panels = packed(weight);
        let mut bias: Vec<f32> = bias.iter().map(|bias| bias.to_f32()).collect();
        bias.resize(outputs.next_multiple_of(WIDTH), 0.0);
        let weights = if T::BITS == 16 { Weights::Pairs(pair_up(&panels)) } else { Weights::F32(panels) };
        Self { inputs, outputs, activation, weights, bias }
    }

    /// Returns the number of entries in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes `out` [n, out] from `x` [n, in], on all threads. `scratch` is a buffer that successive calls may reuse.
    pub fn forward(&self, x: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        let rows = x.len() / self.inputs;
        let len = rows * self.bias.len();
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        let blocks = &mut scratch[..len];
        let count = self.bias.len() / WIDTH;
        let pieces = self.bias.chunks_exact(WIDTH).zip(blocks.chunks_exact_mut(rows * WIDTH));
        threads::for_each(pieces.enumerate(), |(i, (bias, out))| {
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

/// Returns the weights as panels, each ordered by input.
fn packed<T: Float>(weight: Matrix<'_, T>) -> Vec<f32> {
    let panel_len = weight.columns * WIDTH;
    let mut panels = vec![0.0; weight.rows().div_ceil(WIDTH) * panel_len];
    for (output, row) in weight.entries.chunks_exact(weight.columns).enumerate() {
        let panel = &mut panels[output / WIDTH * panel_len..][..panel_len];
        for (input, weight) in row.iter().enumerate() {
            panel[input * WIDTH + output % WIDTH] = weight.to_f32();
        }
    }
    panels
}

/// The computation of one panel's outputs.
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
            Panel::F32(weights) => multiply_panel(simd, self.x, weights, self.inputs, self.out),
            Panel::Pairs(words) => multiply_panel(simd, self.x, words, self.inputs, self.out),
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
    use half::bf16;
    use nb_testing::wave;

    use super::*;

    /// Covers numbers of outputs that do not fill panels, and numbers of rows around a tile's. Every sum of small integers is
    /// exact.
    #[test]
    fn the_product_matches_the_definition() {
        let integers =
            |len: usize, factor: usize| -> Vec<f32> { (0..len).map(|i| (i * factor % 11) as f32 - 5.0).collect() };
        for (rows, inputs, outputs) in
            (1..=13).map(|rows| (rows, 7, 35)).chain([(9, 48, 200), (17, 5, 97), (25, 3, 1), (32, 64, 64)])
        {
            let (x, weight, bias) = (integers(rows * inputs, 7), integers(outputs * inputs, 3), integers(outputs, 5));
            for activation in [None, Some(Activation::Relu)] {
                let layer = PackedLinear::new(Matrix { entries: &weight, columns: inputs }, &bias, activation);
                let mut out = vec![f32::NAN; rows * outputs];
                layer.forward(&x, &mut Vec::new(), &mut out);
                for (i, found) in out.into_iter().enumerate() {
                    let (row, output) = (i / outputs, i % outputs);
                    let products = (0..inputs).map(|k| x[row * inputs + k] * weight[output * inputs + k]);
                    let mut expected = [products.sum::<f32>() + bias[output]];
                    activation.inspect(|activation| activation.apply(&mut expected));
                    assert_eq!(found, expected[0], "{rows} {inputs} {outputs} {activation:?}: {i}");
                }
            }
        }
    }

    /// Holds for any numbers, since both sum the same products in the same order.
    #[test]
    fn bf16_weights_give_the_same_bits_as_f32_weights() {
        for (rows, inputs, outputs) in [(1, 7, 3), (9, 48, 200), (12, 33, 32), (32, 64, 64)] {
            fn run<T: Float>(x: &[f32], weight: &[T], bias: &[T], inputs: usize) -> Vec<f32> {
                let mut out = vec![f32::NAN; x.len() / inputs * bias.len()];
                let layer =
                    PackedLinear::new(Matrix { entries: weight, columns: inputs }, bias, Some(Activation::Gelu));
                layer.forward(x, &mut Vec::new(), &mut out);
                out
            }
            let rounded = |len| -> Vec<bf16> { wave(len, 0.0).into_iter().map(Float::from_f32).collect() };
            let wide = |x: &[bf16]| -> Vec<f32> { x.iter().map(|x| Float::to_f32(*x)).collect() };
            let (x, weight, bias) = (wave(rows * inputs, 0.0), rounded(outputs * inputs), rounded(outputs));
            let (found, expected) = (run(&x, &weight, &bias, inputs), run(&x, &wide(&weight), &wide(&bias), inputs));
            assert_eq!(found, expected, "{rows} {inputs} {outputs}");
        }
    }
}
