//! Dense layers with int8 weights, for inference: y = f(x Wᵀ + b) with symmetric quantisation of W and x.
//!
//! Weights are quantised once, per output: W ≈ s_o · w with w from −127 to 127 and s_o = max|W_o| / 127. Inputs are quantised in
//! every call, per row: x ≈ s_r · q with q from −127 to 127 and s_r = max|x_r| / 127. So y ≈ s_r · s_o · Σ q·w + b, where the sum
//! is exact, in i32. A row's result depends on that row alone.
//!
//! | processors | products |
//! | --- | --- |
//! | with AVX-512 VNNI | four products per 32-bit lane |
//! | with AVX-VNNI | the same in registers half as wide |
//! | with AVX2 | widened to 16 bits, two products per 32-bit lane, without saturation |
//! | others | scalar code |
//!
//! The instructions of VNNI multiply unsigned by signed numbers, so rows hold q + 128, and sums begin at −128 · Σ w.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod kernel;
mod layout;
mod rows;
#[cfg(target_arch = "x86_64")]
mod vnni;
mod weights;

use std::ops::Range;

use super::check;
use super::operands::{Matrix, NR};
use super::tile::TileMut;
use crate::activation::Activation;
use crate::threads;
use kernel::{Block, Kernel};
use layout::{Dequantise, WORD};
pub use rows::Int8Rows;
pub use weights::{Int8Matrix, Int8Weights};

/// A dense layer with int8 weights.
///
/// ```
/// use nb_kernels::gemm::{Int8Linear, Int8Rows, Matrix};
/// let weight = Matrix { entries: &[1.0_f32, 0.0, -2.0, 2.0], columns: 2 };
/// let layer = Int8Linear::new(weight, &[0.5, 0.0], None);
/// let (mut rows, mut out) = (Int8Rows::default(), [0.0; 2]);
/// rows.quantise(&[3.0, 1.0], 2);
/// layer.forward(&rows, &mut out);
/// assert!((out[0] - 3.5).abs() < 0.05 && (out[1] + 4.0).abs() < 0.05);
/// ```
#[derive(Debug)]
pub struct Int8Linear {
    inputs: usize,
    outputs: usize,
    activation: Option<Activation>,
    /// Panels of [`NR`] outputs: for each word of inputs, a word of every output. Zero beyond the last input and output.
    panels: Vec<i8>,
    /// s_o [panels · NR]; NaN for an output with a weight that is NaN or infinite.
    scales: Vec<f32>,
    bias: Vec<f32>,
    /// 128 · Σ w [panels · NR].
    offsets: Vec<i32>,
}

impl Int8Linear {
    /// The largest number of inputs for which every sum fits an i32.
    pub const MAX_INPUTS: usize = 1 << 16;

    /// Quantises and packs `weight` W [out, in]. An output with a weight that is NaN or infinite is NaN.
    ///
    /// # Panics
    ///
    /// As [`Int8Linear::from_quantised`].
    pub fn new(weight: Matrix<'_, f32>, bias: &[f32], activation: Option<Activation>) -> Self {
        let Int8Weights { entries, scales } = Int8Weights::quantise(weight);
        let columns = weight.columns;
        Self::from_quantised(Int8Matrix { entries: &entries, columns, scales: &scales }, bias, activation)
    }

    /// Packs weights that are quantised.
    ///
    /// # Panics
    ///
    /// If there is not one scale and one bias per output, if there are no outputs or an incomplete row of weights, or unless the
    /// number of inputs is 1 to [`Int8Linear::MAX_INPUTS`].
    pub fn from_quantised(weight: Int8Matrix<'_>, bias: &[f32], activation: Option<Activation>) -> Self {
        let (inputs, outputs) = (weight.columns, weight.scales.len());
        assert!((1..=Self::MAX_INPUTS).contains(&inputs), "{inputs} inputs, expected 1 to {}", Self::MAX_INPUTS);
        assert!(outputs > 0 && bias.len() == outputs, "a bias of {} entries for {outputs} outputs", bias.len());
        check("the weights", weight.entries.len(), outputs * inputs);
        let (words, columns) = (inputs.div_ceil(WORD), outputs.next_multiple_of(NR));
        let padded = |entries: &[f32]| {
            let mut padded = entries.to_vec();
            padded.resize(columns, 0.0);
            padded
        };
        let mut layer = Self {
            inputs,
            outputs,
            activation,
            panels: vec![0; words * WORD * columns],
            scales: padded(weight.scales),
            bias: padded(bias),
            offsets: vec![0; columns],
        };
        for (output, row) in weight.entries.chunks_exact(inputs).enumerate() {
            layer.offsets[output] = 128 * row.iter().map(|&weight| i32::from(weight)).sum::<i32>();
            let panel = &mut layer.panels[output / NR * words * WORD * NR..][..words * WORD * NR];
            let places = panel.chunks_exact_mut(WORD).skip(output % NR).step_by(NR);
            row.chunks(WORD).zip(places).for_each(|(word, place)| place[..word.len()].copy_from_slice(word));
        }
        layer
    }

    /// Returns the number of entries in a row of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of entries in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes `out` [n, out] from n rows, on all threads.
    ///
    /// # Panics
    ///
    /// If the shapes do not match.
    pub fn forward(&self, rows: &Int8Rows, out: &mut [f32]) {
        assert_eq!(rows.columns(), self.inputs, "entries in a row of the input");
        assert_eq!(out.len(), rows.rows() * self.outputs, "entries of the result");
        let grid = super::grid(rows.rows(), self.outputs);
        let tiles = grid.tiles().zip(grid.split_mut(out));
        let kernel = Kernel::fastest();
        threads::for_each(tiles, |(tile, mut out)| {
            for column in tile.columns.clone().step_by(NR) {
                self.panel(kernel, rows, tile.rows.clone(), column, &mut out);
            }
        });
    }

    /// Computes the outputs from `column` on, a panel of them, of a range of rows.
    fn panel(&self, kernel: Kernel, rows: &Int8Rows, range: Range<usize>, column: usize, out: &mut TileMut<'_, f32>) {
        let (index, len) = (column / NR, self.panels.len() / (self.scales.len() / NR));
        let dequantise = Dequantise {
            scales: &self.scales.as_chunks().0[index],
            bias: &self.bias.as_chunks().0[index],
            offsets: &self.offsets.as_chunks().0[index],
        };
        let panel = &self.panels[index * len..][..len];
        let activation = self.activation;
        kernel.run(Block { kernel, rows, range, panel, dequantise, activation, column, out });
    }
}

#[cfg(test)]
mod tests;
