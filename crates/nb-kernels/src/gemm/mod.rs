//! Matrix products of dense layers, y = f(x Wᵀ + b), and their gradients.
//!
//! | rows of x | numbers | products | processors |
//! | --- | --- | --- | --- |
//! | many | f32 | [`Isa`]\<f32\> | with AVX-512, or AVX2 and FMA |
//! | many | bf16 | [`Isa`]\<bf16\> | with AVX-512 BF16: AMD's Zen 4 and 5, and some Intel processors |
//! | up to about 30 | f32 | [`skinny`] | all |
//! | up to about 30 | f32, weights packed in advance | [`PackedLinear`] | all |
//! | many | f32 or bf16, weights packed in advance | [`PanelLinear`] | as for [`Isa`] |
//! | any | int8, weights packed in advance | [`Int8Linear`] | all; fast with AVX-512 VNNI, AVX-VNNI or AVX2 |
//!
//! For many rows, the right matrix is packed into panels of 64 columns, and the left matrix is multiplied with each panel in
//! micro-tiles of six rows. oneDNN multiplies about as fast, but these kernels do more. They add sums straight into the
//! gradients, in f32. They apply biases, activations and derivatives while a tile of the result is in the L1 cache, without
//! rounding in between. They compile nothing for the number of rows, which differs in each batch of packed tokens.
//!
//! The sum for each entry of a result has a fixed order, whatever the number of threads. Subnormal bf16 numbers count as 0.
//!
//! ```
//! use nb_kernels::gemm::{Isa, Matrix};
//! let x = Matrix { entries: &[1.0, 2.0, 3.0, 4.0], columns: 2 }; // two rows
//! let weight = Matrix { entries: &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], columns: 2 }; // three outputs
//! let mut out = [0.0_f32; 6];
//! if let Some(isa) = Isa::detect() {
//!     isa.linear(x, weight, &[0.0, 0.0, 0.5], None, &mut out);
//!     assert_eq!(out, [1.0, 2.0, 3.5, 3.0, 4.0, 7.5]);
//! }
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512bf16;
mod bf16gemm;
mod element;
mod epilogue;
mod grid;
mod int8;
#[cfg(target_arch = "x86_64")]
mod microkernel;
mod operands;
mod pack;
mod panel_linear;
mod prepacked;
mod sgemm;
pub mod skinny;
mod tile;

use crate::activation::Activation;
use crate::threads;
use element::Microkernel;
pub use element::{Element, Isa};
use epilogue::{Added, Biased, Multiplied, Plain, WithSlope};
use grid::{add_weight_grad, gemm_grid};
pub use int8::{Int8Linear, Int8Matrix, Int8Rows, Int8Weights};
pub use operands::Matrix;
use operands::{Columns, NR, in_word};
pub use panel_linear::PanelLinear;
pub use prepacked::PackedLinear;
use tile::Grid;

/// The products of a dense layer with `weight` W [out, in], and their gradients. They run on all threads.
impl<T: Element> Isa<T> {
    /// Writes f(`x` Wᵀ + b) [n, out] to `out`, for `x` [n, in]; without an activation f(u) = u.
    ///
    /// # Panics
    ///
    /// If shapes do not match, or if a width is odd in bf16.
    pub fn linear(
        self,
        x: Matrix<'_, T>,
        weight: Matrix<'_, T>,
        bias: &[T],
        activation: Option<Activation>,
        out: &mut [T],
    ) {
        let outputs = check_forward(x, weight, bias);
        let grid = grid(x.rows(), outputs);
        check("the result", out.len(), x.rows() * outputs);
        let epilogues = grid.split_mut(out).into_iter().map(|out| Biased { bias, activation, out });
        gemm_grid(self, x, |index, panel| pack::transposed(weight, index, panel), &grid, epilogues);
    }

    /// Writes f(u) to `values` and f′(u) to `slopes`, both [n, out], at u = `x` Wᵀ + b.
    ///
    /// # Panics
    ///
    /// As [`Isa::linear`].
    pub fn linear_with_slope(
        self,
        x: Matrix<'_, T>,
        weight: Matrix<'_, T>,
        bias: &[T],
        activation: Activation,
        values: &mut [T],
        slopes: &mut [T],
    ) {
        let outputs = check_forward(x, weight, bias);
        let grid = grid(x.rows(), outputs);
        check("the values", values.len(), x.rows() * outputs);
        check("the slopes", slopes.len(), x.rows() * outputs);
        let epilogues = grid
            .split_mut(values)
            .into_iter()
            .zip(grid.split_mut(slopes))
            .map(|(values, slopes)| WithSlope { bias, activation, values, slopes });
        gemm_grid(self, x, |index, panel| pack::transposed(weight, index, panel), &grid, epilogues);
    }

    /// Writes dL/dx = `grad` W [n, in] to `out`, from dL/dy `grad` [n, out].
    ///
    /// # Panics
    ///
    /// As [`Isa::linear`].
    pub fn input_grad(self, grad: Matrix<'_, T>, weight: Matrix<'_, T>, out: &mut [T]) {
        let grid = check_backward(grad, weight, out.len());
        let epilogues = grid.split_mut(out).into_iter().map(|out| Plain { out });
        gemm_grid(self, grad, |index, panel| self.pack(weight, index, panel), &grid, epilogues);
    }

    /// Writes dL/du [n, in] to `out` for a layer whose input is x = f(u), with f′(u) as `slopes` [n, in].
    ///
    /// # Panics
    ///
    /// As [`Isa::linear`].
    pub fn input_grad_through(self, grad: Matrix<'_, T>, weight: Matrix<'_, T>, slopes: &[T], out: &mut [T]) {
        let grid = check_backward(grad, weight, out.len());
        check("the slopes", slopes.len(), out.len());
        let factors = Matrix { entries: slopes, columns: weight.columns };
        let epilogues = grid.split_mut(out).into_iter().map(|out| Multiplied { factors, out });
        gemm_grid(self, grad, |index, panel| self.pack(weight, index, panel), &grid, epilogues);
    }

    /// Adds dL/dx = `grad` W [n, in] to `sum`, in f32.
    ///
    /// # Panics
    ///
    /// As [`Isa::linear`].
    pub fn add_input_grad(self, grad: Matrix<'_, T>, weight: Matrix<'_, T>, sum: &mut [f32]) {
        let grid = check_backward(grad, weight, sum.len());
        let epilogues = grid.split_mut(sum).into_iter().map(|out| Added { out });
        gemm_grid(self, grad, |index, panel| self.pack(weight, index, panel), &grid, epilogues);
    }

    /// Adds dL/dW = `grad`ᵀ `x` to `weight_grad` [out, in] and dL/db to `bias_grad` \[out\], in f32, from dL/dy `grad` [n, out]
    /// and the input `x` [n, in].
    ///
    /// # Panics
    ///
    /// As [`Isa::linear`].
    pub fn add_parameter_grads(
        self,
        grad: Matrix<'_, T>,
        x: Matrix<'_, T>,
        weight_grad: &mut [f32],
        bias_grad: &mut [f32],
    ) {
        check_widths::<T>([grad.columns, x.columns]);
        check("the input", x.entries.len(), grad.rows() * x.columns);
        check("the gradient of the weights", weight_grad.len(), grad.columns * x.columns);
        check("the gradient of the biases", bias_grad.len(), grad.columns);
        add_weight_grad(self, grad, x, weight_grad, bias_grad);
    }

    /// Packs panel `index` of `right` [k, n], whose columns are the columns of the product.
    fn pack(self, right: Matrix<'_, T>, index: usize, panel: &mut [T]) {
        T::interleave(self, &Columns::part(right, index, NR), NR, panel);
    }
}

/// Splits a result into tiles for all threads.
fn grid(rows: usize, columns: usize) -> Grid {
    Grid::new(rows, columns, threads::count())
}

/// Checks the operands of a forward pass, and returns the number of outputs.
fn check_forward<T: Microkernel>(x: Matrix<'_, T>, weight: Matrix<'_, T>, bias: &[T]) -> usize {
    let outputs = weight.rows();
    check_widths::<T>([weight.columns, outputs]);
    check("the weights", weight.entries.len(), outputs * weight.columns);
    assert_eq!(x.columns, weight.columns, "columns of the input against those of the weights");
    check("the input", x.entries.len(), x.rows() * x.columns);
    check("the bias", bias.len(), outputs);
    outputs
}

/// Checks the operands of an input gradient, and splits the result of `len` entries into tiles.
fn check_backward<T: Microkernel>(grad: Matrix<'_, T>, weight: Matrix<'_, T>, len: usize) -> Grid {
    check_widths::<T>([grad.columns, weight.columns]);
    check("the weights", weight.entries.len(), grad.columns * weight.columns);
    check("the gradient", grad.entries.len(), grad.rows() * grad.columns);
    check("the gradient of the input", len, grad.rows() * weight.columns);
    grid(grad.rows(), weight.columns)
}

/// Panics unless rows consist of complete words, the unit in which they are read.
fn check_widths<T>(widths: [usize; 2]) {
    let word = in_word::<T>();
    let fits = |width: usize| width > 0 && width.is_multiple_of(word);
    assert!(widths.into_iter().all(fits), "a layer of widths {widths:?}, expected multiples of {word} above 0");
}

fn check(what: &str, found: usize, expected: usize) {
    assert_eq!(found, expected, "entries of {what}");
}

#[cfg(test)]
mod tests;
