//! LayerNorm of a sum, y = γ·x̂ + β with x̂ = (r − mean r)/√(var r + ε) and r = dropout(x) + residual (Ba et al. 2016).
//!
//! The mean and the (biased) variance are taken over the H units of a row. The backward pass needs x̂ and 1/√(var + ε), not r
//! itself. One pass over each row does everything, including dropout and the copy in the precision of the products.

use pulp::{Simd, WithSimd};

use crate::dropout::{BLOCK, Dropout};
use crate::float::Float;
use crate::simd::{dispatch, sum, sum_product};
use crate::threads;

/// Rows per parallel piece. The number is fixed, so the sums over rows do not depend on the number of threads. It equals the
/// number of entries in a block of dropout, so each piece begins with a block.
const PIECE: usize = BLOCK;

/// Rows that [`normalise_sum`] normalises together.
const BESIDE: usize = 4;

/// The parameters of a LayerNorm over H units.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// γ \[H\].
    pub weight: &'a [f32],
    /// β \[H\].
    pub bias: &'a [f32],
    /// ε, added to the variance.
    pub eps: f64,
}

/// Inputs and outputs of a forward pass over n rows of H units.
///
/// ```
/// use nb_kernels::layer_norm::{Forward, Parameters};
/// let parameters = Parameters { weight: &[1.0, 1.0], bias: &[0.0, 0.5], eps: 1e-12 };
/// let (mut out, mut normalised, mut inverse_deviation) = ([0.0; 2], [0.0; 2], [0.0; 1]);
/// let forward = Forward::<f32> {
///     x: &[1.0, 2.0],
///     residual: &[0.0, 1.0],
///     out: &mut out,
///     normalised: &mut normalised,
///     inverse_deviation: &mut inverse_deviation,
///     low: &mut [],
/// };
/// forward.run(&parameters, None);
/// assert_eq!(out, [-1.0, 1.5]); // (1 − 2)/1 and (3 − 2)/1 + 0.5
/// ```
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// x [n, H].
    pub x: &'a [T],
    /// [n, H].
    pub residual: &'a [f32],
    /// y [n, H].
    pub out: &'a mut [f32],
    /// x̂ [n, H], for the backward pass.
    pub normalised: &'a mut [f32],
    /// 1/√(var + ε) \[n\], for the backward pass.
    pub inverse_deviation: &'a mut [f32],
    /// y rounded to the precision of x [n, H]; may be empty.
    pub low: &'a mut [T],
}

impl<T: Float> Forward<'_, T> {
    /// Computes y, x̂ and 1/√(var + ε), on all threads.
    ///
    /// # Panics
    ///
    /// If lengths do not match.
    pub fn run(self, parameters: &Parameters<'_>, dropout: Option<Dropout>) {
        let h = parameters.weight.len();
        self.check(parameters);
        threads::for_each(self.pieces(h).into_iter().enumerate(), |(i, piece)| {
            dispatch(|| piece.run_piece(i * h, parameters, dropout));
        });
    }

    fn check(&self, parameters: &Parameters<'_>) {
        let h = parameters.weight.len();
        assert!(h > 0 && parameters.bias.len() == h, "a bias of {} entries for {h} units", parameters.bias.len());
        let expected = self.inverse_deviation.len() * h;
        let found = [self.x.len(), self.residual.len(), self.out.len(), self.normalised.len()];
        assert_eq!(found, [expected; 4], "entries of x, residual, out and normalised");
        assert!(
            [0, expected].contains(&self.low.len()),
            "low has {} entries, expected 0 or {expected}",
            self.low.len()
        );
    }

    /// Splits the rows into pieces of [`PIECE`] rows.
    fn pieces(mut self, h: usize) -> Vec<Self> {
        let mut pieces = Vec::with_capacity(self.inverse_deviation.len().div_ceil(PIECE));
        while !self.inverse_deviation.is_empty() {
            let rows = PIECE.min(self.inverse_deviation.len());
            pieces.push(Self {
                x: take(&mut self.x, rows * h),
                residual: take(&mut self.residual, rows * h),
                out: take_mut(&mut self.out, rows * h),
                normalised: take_mut(&mut self.normalised, rows * h),
                inverse_deviation: take_mut(&mut self.inverse_deviation, rows),
                low: take_mut(&mut self.low, rows * h),
            });
        }
        pieces
    }

    /// Runs one piece, which begins with block number `block` of dropout.
    #[inline(always)]
    fn run_piece(self, block: usize, parameters: &Parameters<'_>, dropout: Option<Dropout>) {
        let Self { x, residual, out, normalised, inverse_deviation, low } = self;
        let h = parameters.weight.len();
        copy(dropout, block, x, normalised);
        for (i, inverse) in inverse_deviation.iter_mut().enumerate() {
            let row = i * h..(i + 1) * h;
            let normalised = &mut normalised[row.clone()];
            normalised.iter_mut().zip(&residual[row.clone()]).for_each(|(x, r)| *x += r);
            *inverse = normalise(normalised, parameters.eps);
            scale_and_shift(normalised, parameters, &mut out[row]);
        }
        low.iter_mut().zip(&*out).for_each(|(low, out)| *low = T::from_f32(*out));
    }
}

/// Inputs and outputs of a backward pass over n rows of H units.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// dL/dy [n, H].
    pub grad: &'a [f32],
    /// x̂ [n, H] of the forward pass.
    pub normalised: &'a [f32],
    /// 1/√(var + ε) \[n\] of the forward pass.
    pub inverse_deviation: &'a [f32],
    /// dL/d(residual) [n, H].
    pub residual_grad: &'a mut [f32],
    /// dL/dx [n, H].
    pub x_grad: &'a mut [T],
}

/// The sums that a backward pass adds to, over H units.
#[derive(Debug)]
pub struct ParameterGrads<'a> {
    /// dL/dγ \[H\].
    pub weight: &'a mut [f32],
    /// dL/dβ \[H\].
    pub bias: &'a mut [f32],
}

/// A piece's part of [`ParameterGrads`].
#[derive(Debug, Clone, Default)]
struct PartialGrads {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl<T: Float> Backward<'_, T> {
    /// Computes dL/d(residual) and, with the dropout of the forward pass, dL/dx, and adds the gradients of the parameters to
    /// `grads`; on all threads. `weight` is γ.
    ///
    /// # Panics
    ///
    /// If lengths do not match.
    pub fn run(self, weight: &[f32], dropout: Option<Dropout>, grads: &mut ParameterGrads<'_>) {
        let h = weight.len();
        self.check(h, grads);
        let pieces = self.pieces(h);
        let mut parts = vec![PartialGrads::default(); pieces.len()];
        threads::for_each(pieces.into_iter().zip(&mut parts).enumerate(), |(i, (piece, part))| {
            *part = dispatch(|| piece.run_piece(i * h, weight, dropout));
        });
        for part in parts {
            grads.weight.iter_mut().zip(part.weight).for_each(|(sum, part)| *sum += part);
            grads.bias.iter_mut().zip(part.bias).for_each(|(sum, part)| *sum += part);
        }
    }

    fn check(&self, h: usize, grads: &ParameterGrads<'_>) {
        assert!(h > 0, "LayerNorm of no units");
        assert_eq!([grads.weight.len(), grads.bias.len()], [h; 2], "entries of the parameters' gradients");
        let found = [self.grad.len(), self.normalised.len(), self.residual_grad.len(), self.x_grad.len()];
        assert_eq!(
            found,
            [self.inverse_deviation.len() * h; 4],
            "entries of grad, normalised, residual_grad and x_grad"
        );
    }

    fn pieces(mut self, h: usize) -> Vec<Self> {
        let mut pieces = Vec::with_capacity(self.inverse_deviation.len().div_ceil(PIECE));
        while !self.inverse_deviation.is_empty() {
            let rows = PIECE.min(self.inverse_deviation.len());
            pieces.push(Self {
                grad: take(&mut self.grad, rows * h),
                normalised: take(&mut self.normalised, rows * h),
                inverse_deviation: take(&mut self.inverse_deviation, rows),
                residual_grad: take_mut(&mut self.residual_grad, rows * h),
                x_grad: take_mut(&mut self.x_grad, rows * h),
            });
        }
        pieces
    }

    /// Runs one piece, which begins with block number `block` of dropout.
    #[inline(always)]
    fn run_piece(self, block: usize, weight: &[f32], dropout: Option<Dropout>) -> PartialGrads {
        let h = weight.len();
        let mut part = PartialGrads { weight: vec![0.0; h], bias: vec![0.0; h] };
        for (i, inverse) in self.inverse_deviation.iter().enumerate() {
            let row = i * h..(i + 1) * h;
            let (normalised, out) = (&self.normalised[row.clone()], &mut self.residual_grad[row.clone()]);
            scale_and_add(&self.grad[row], normalised, weight, out, &mut part);
            let mean = sum(out, |v| v) / h as f32;
            let along = sum_product(out, normalised) / h as f32;
            out.iter_mut().zip(normalised).for_each(|(out, x)| *out = (*out - mean - x * along) * inverse);
        }
        copy(dropout, block, self.residual_grad, self.x_grad);
        part
    }
}

/// Replaces `x` by LayerNorm(x + residual), both [n, H], on the calling thread.
///
/// # Panics
///
/// If `x` and `residual` differ in length.
pub fn normalise_sum(x: &mut [f32], residual: &[f32], parameters: &Parameters<'_>) {
    assert_eq!(x.len(), residual.len(), "entries of x against those of the residual");
    dispatch(NormaliseSum { x, residual, parameters });
}

/// A structure, not a closure, which would be a function of its own, compiled for any processor.
struct NormaliseSum<'a> {
    x: &'a mut [f32],
    residual: &'a [f32],
    parameters: &'a Parameters<'a>,
}

impl WithSimd for NormaliseSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, residual, parameters } = self;
        let h = parameters.weight.len();
        let (mut blocks, residuals) = (x.chunks_exact_mut(BESIDE * h), residual.chunks_exact(BESIDE * h));
        let last = residuals.remainder();
        for (x, residual) in blocks.by_ref().zip(residuals) {
            normalise_rows::<BESIDE>(x, residual, parameters);
        }
        for (x, residual) in blocks.into_remainder().chunks_exact_mut(h).zip(last.chunks_exact(h)) {
            normalise_rows::<1>(x, residual, parameters);
        }
    }
}

/// Does the same for `R` rows. In each entry it computes what [`normalise`] and [`scale_and_shift`] do, in fewer passes. A pass covers
/// all rows before the next one begins, since a row's sum is a chain of additions that wait for each other.
#[inline(always)]
fn normalise_rows<const R: usize>(x: &mut [f32], residual: &[f32], parameters: &Parameters<'_>) {
    let h = x.len() / R;
    let (weight, bias, width) = (&parameters.weight[..h], &parameters.bias[..h], h as f32);
    x.iter_mut().zip(residual).for_each(|(x, r)| *x += r);
    let (mut means, mut inverses) = ([0.0; R], [0.0; R]);
    for (mean, x) in means.iter_mut().zip(x.chunks_exact(h)) {
        *mean = sum(x, |v| v) / width;
    }
    for ((inverse, mean), x) in inverses.iter_mut().zip(means).zip(x.chunks_exact(h)) {
        let variance = sum(x, |v| (v - mean) * (v - mean)) / width;
        *inverse = 1.0 / (variance + parameters.eps as f32).sqrt();
    }
    for ((inverse, mean), x) in inverses.into_iter().zip(means).zip(x.chunks_exact_mut(h)) {
        for i in 0..h {
            x[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
        }
    }
}

/// Normalises one row in place and returns 1/√(var + ε).
#[inline(always)]
fn normalise(row: &mut [f32], eps: f64) -> f32 {
    let width = row.len() as f32;
    let mean = sum(row, |v| v) / width;
    row.iter_mut().for_each(|v| *v -= mean);
    let variance = sum(row, |v| v * v) / width;
    let inverse = 1.0 / (variance + eps as f32).sqrt();
    row.iter_mut().for_each(|v| *v *= inverse);
    inverse
}

/// Computes `out` = x̂·γ + β for one row.
#[inline(always)]
fn scale_and_shift(normalised: &[f32], parameters: &Parameters<'_>, out: &mut [f32]) {
    let h = out.len();
    // With equal lengths known before the loop, the compiler removes its bounds checks.
    let (normalised, weight, bias) = (&normalised[..h], &parameters.weight[..h], &parameters.bias[..h]);
    for i in 0..h {
        out[i] = normalised[i] * weight[i] + bias[i];
    }
}

/// Computes `out` = dL/dy·γ for one row; adds dL/dy·x̂ and dL/dy to the sums of dL/dγ and dL/dβ.
#[inline(always)]
fn scale_and_add(grad: &[f32], normalised: &[f32], weight: &[f32], out: &mut [f32], part: &mut PartialGrads) {
    let h = out.len();
    let (grad, normalised, weight) = (&grad[..h], &normalised[..h], &weight[..h]);
    let (weight_part, bias_part) = (&mut part.weight[..h], &mut part.bias[..h]);
    for i in 0..h {
        weight_part[i] += grad[i] * normalised[i];
        bias_part[i] += grad[i];
        out[i] = grad[i] * weight[i];
    }
}

/// Copies `from`, which begins with block number `block`, to `to`; drops entries if there is dropout.
#[inline(always)]
fn copy<T: Float, U: Float>(dropout: Option<Dropout>, block: usize, from: &[T], to: &mut [U]) {
    match dropout {
        Some(dropout) => dropout.copy(block, from, to),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = U::from_f32(from.to_f32())),
    }
}

/// Splits off the first `len` entries, or all of them if there are fewer.
fn take<'a, T>(slice: &mut &'a [T], len: usize) -> &'a [T] {
    slice.split_off(..len.min(slice.len())).unwrap_or_default()
}

fn take_mut<'a, T>(slice: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    slice.split_off_mut(..len.min(slice.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
