//! Products of many rows with weights packed in advance.

use super::element::{Element, Isa};
use super::epilogue::{BiasedRounded, BiasedWide, Epilogue};
use super::grid::gemm_packed;
use super::operands::{Matrix, NR};
use super::pack;
use super::tile::TileMut;
use super::{check, check_widths, grid};
use crate::activation::Activation;

/// A dense layer y = f(x Wᵀ + b) whose weights are packed once, for a model in production. [`Isa::linear`] packs them in each call.
///
/// ```
/// use nb_kernels::gemm::{Isa, Matrix, PanelLinear};
/// let weight = Matrix { entries: &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], columns: 2 };
/// if let Some(isa) = Isa::<f32>::detect() {
///     let layer = PanelLinear::new(isa, weight, &[0.0, 0.0, 0.5], None);
///     let mut out = [0.0; 3];
///     layer.forward(Matrix { entries: &[1.0, 2.0], columns: 2 }, &mut out);
///     assert_eq!(out, [1.0, 2.0, 3.5]);
/// }
/// ```
#[derive(Debug)]
pub struct PanelLinear<T> {
    isa: Isa<T>,
    inputs: usize,
    outputs: usize,
    activation: Option<Activation>,
    /// All panels, as [`pack::transposed`] packs them.
    panels: Vec<T>,
    /// [panels · NR]
    bias: Vec<f32>,
}

impl<T: Element> PanelLinear<T> {
    /// Packs `weight` W [out, in].
    ///
    /// # Panics
    ///
    /// If the bias does not have one entry per output, or if a width is 0 or, in bf16, odd.
    pub fn new(isa: Isa<T>, weight: Matrix<'_, T>, bias: &[f32], activation: Option<Activation>) -> Self {
        let (inputs, outputs) = (weight.columns, weight.rows());
        check_widths::<T>([inputs, outputs]);
        check("the weights", weight.entries.len(), outputs * inputs);
        check("the bias", bias.len(), outputs);
        let mut panels = vec![T::ZERO; pack::panels_len::<T>(inputs, outputs)];
        let panel_len = pack::panel_len::<T>(inputs);
        for (index, panel) in panels.chunks_exact_mut(panel_len).enumerate() {
            pack::transposed(weight, index, panel);
        }
        let mut bias = bias.to_vec();
        bias.resize(outputs.next_multiple_of(NR), 0.0);
        Self { isa, inputs, outputs, activation, panels, bias }
    }

    /// Returns the number of entries in a row of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of entries in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes `out` [n, out] from `x` [n, in], on all threads.
    ///
    /// # Panics
    ///
    /// If the shapes do not match.
    pub fn forward(&self, x: Matrix<'_, T>, out: &mut [f32]) {
        let (bias, activation) = (&*self.bias, self.activation);
        self.run(x, out, |out| BiasedWide { bias, activation, out });
    }

    /// Does the same as [`PanelLinear::forward`], and rounds the results to the number format of the weights: the input of another
    /// layer. In bf16, subnormal results become 0.
    ///
    /// # Panics
    ///
    /// As [`PanelLinear::forward`].
    pub fn forward_rounded(&self, x: Matrix<'_, T>, out: &mut [T]) {
        let (bias, activation) = (&*self.bias, self.activation);
        self.run(x, out, |out| BiasedRounded { bias, activation, out });
    }

    /// Rounds `x` to the number format of the weights. In bf16, subnormal numbers become 0.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn round(&self, x: &[f32], out: &mut [T]) {
        self.isa.round(x, out);
    }

    fn run<'o, U: Send, E: Epilogue<T>>(
        &self,
        x: Matrix<'_, T>,
        out: &'o mut [U],
        epilogue: impl Fn(TileMut<'o, U>) -> E + Send,
    ) {
        assert_eq!(x.columns, self.inputs, "entries in a row of the input");
        check("the input", x.entries.len(), x.rows() * x.columns);
        check("the result", out.len(), x.rows() * self.outputs);
        let grid = grid(x.rows(), self.outputs);
        let epilogues = grid.split_mut(out).into_iter().map(epilogue);
        gemm_packed(self.isa, x, &self.panels, &grid, epilogues);
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use nb_testing::wave;

    use super::super::tests::detect;
    use super::*;

    /// Holds in every bit: both sum the same products in the same order.
    fn matches_weights_packed_in_the_call<T: Element>() {
        let Some(isa) = detect::<T>() else { return };
        for (rows, inputs, outputs) in [(1, 2, 2), (7, 34, 66), (260, 130, 200), (0, 4, 4)] {
            let numbers = |len, shift| -> Vec<T> { wave(len, shift).into_iter().map(T::from_f32).collect() };
            let (x, weight) = (numbers(rows * inputs, 0.0), numbers(inputs * outputs, 1.0));
            let (bias, zeros) = (wave(outputs, 2.0), vec![T::ZERO; outputs]);
            let (x, weight) = (Matrix { entries: &x, columns: inputs }, Matrix { entries: &weight, columns: inputs });
            let mut found = vec![f32::NAN; rows * outputs];
            PanelLinear::new(isa, weight, &bias, Some(Activation::Relu)).forward(x, &mut found);
            let mut sums = vec![0.0; rows * outputs];
            PanelLinear::new(isa, weight, &vec![0.0; outputs], None).forward(x, &mut sums);
            let mut rounded = vec![T::ZERO; rows * outputs];
            isa.linear(x, weight, &zeros, None, &mut rounded);
            let mut low = vec![T::ZERO; rows * outputs];
            let layer = PanelLinear::new(isa, weight, &bias, Some(Activation::Relu));
            layer.forward_rounded(x, &mut low);
            let mut after = vec![T::ZERO; rows * outputs];
            layer.round(&found, &mut after);
            for (low, (after, found)) in low.into_iter().zip(after.into_iter().zip(&found)) {
                let expected = T::from_f32(*found).to_f32();
                assert_eq!([low.to_f32(), after.to_f32()], [expected; 2], "{rows} {inputs} {outputs}");
            }
            for (i, (found, sum)) in found.into_iter().zip(sums).enumerate() {
                assert_eq!(found, (sum + bias[i % outputs]).max(0.0), "{rows} {inputs} {outputs}: {i}");
                assert_eq!(T::from_f32(sum).to_f32(), rounded[i].to_f32(), "{rows} {inputs} {outputs}: {i}");
            }
        }
    }

    #[test]
    fn f32_matches_weights_packed_in_the_call() {
        matches_weights_packed_in_the_call::<f32>();
    }

    #[test]
    fn bf16_matches_weights_packed_in_the_call() {
        matches_weights_packed_in_the_call::<bf16>();
    }
}
