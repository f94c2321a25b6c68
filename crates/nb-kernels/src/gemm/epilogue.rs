//! Operations on the sums of a product while they are in the L1 cache: biases, activations, and the write to the result.

use pulp::Simd;

use super::element::{Element, Isa};
use super::operands::{Matrix, NR};
use super::tile::{Position, TileMut};
use crate::activation::Activation;
use crate::float::Float;
use crate::simd::{activate, prefetch, value_and_slope};

/// The last step of a product for one tile of the result.
pub(super) trait Epilogue<T: Element>: Send {
    /// Prefetches the memory for a row of a micro-tile that begins at position `at`, before its sums are computed.
    fn prefetch(&self, at: Position);

    /// Stores the sums of a row of a micro-tile that begins at position `at`. The tile may have fewer columns.
    fn store<S: Simd>(&mut self, simd: S, isa: Isa<T>, at: Position, sums: &mut [f32; NR]);
}

/// Adds the bias, applies the activation if there is one, and writes the results.
pub(super) struct Biased<'a, T> {
    pub(super) bias: &'a [T],
    pub(super) activation: Option<Activation>,
    pub(super) out: TileMut<'a, T>,
}

impl<T: Element> Epilogue<T> for Biased<'_, T> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.out.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, isa: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        add_bias(sums, &self.bias[at.column..]);
        if let Some(activation) = self.activation {
            for sums in S::as_mut_simd_f32s(sums).0 {
                *sums = activate(simd, activation, *sums);
            }
        }
        T::store(isa, sums, self.out.row_mut(at));
    }
}

/// Does the same as [`Biased`] with biases in f32 that fill complete panels, and writes the results as they are.
pub(super) struct BiasedWide<'a> {
    pub(super) bias: &'a [f32],
    pub(super) activation: Option<Activation>,
    pub(super) out: TileMut<'a, f32>,
}

impl<T: Element> Epilogue<T> for BiasedWide<'_> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.out.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, _: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        add_panel_bias(simd, self.bias, self.activation, at, sums);
        let out = self.out.row_mut(at);
        match <&mut [f32; NR]>::try_from(&mut *out) {
            // In registers: the compiler makes a call of a copy.
            Ok(out) => {
                S::as_mut_simd_f32s(out).0.iter_mut().zip(S::as_simd_f32s(sums).0).for_each(|(out, sum)| *out = *sum)
            }
            Err(_) => out.copy_from_slice(&sums[..out.len()]),
        }
    }
}

/// Does the same as [`BiasedWide`], and rounds the results to the number format of the factors.
pub(super) struct BiasedRounded<'a, T> {
    pub(super) bias: &'a [f32],
    pub(super) activation: Option<Activation>,
    pub(super) out: TileMut<'a, T>,
}

impl<T: Element> Epilogue<T> for BiasedRounded<'_, T> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.out.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, isa: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        add_panel_bias(simd, self.bias, self.activation, at, sums);
        T::store(isa, sums, self.out.row_mut(at));
    }
}

/// Adds the biases of a complete panel, and applies the activation if there is one.
#[inline(always)]
fn add_panel_bias<S: Simd>(simd: S, bias: &[f32], activation: Option<Activation>, at: Position, sums: &mut [f32; NR]) {
    let bias = S::as_simd_f32s(&bias[at.column..at.column + NR]).0;
    for (sums, bias) in S::as_mut_simd_f32s(sums).0.iter_mut().zip(bias) {
        *sums = simd.add_f32s(*sums, *bias);
    }
    // Not in a closure, which would be compiled for any processor.
    if let Some(activation) = activation {
        for sums in S::as_mut_simd_f32s(sums).0 {
            *sums = activate(simd, activation, *sums);
        }
    }
}

/// Adds the bias, and writes the activation and its slope.
pub(super) struct WithSlope<'a, T> {
    pub(super) bias: &'a [T],
    pub(super) activation: Activation,
    pub(super) values: TileMut<'a, T>,
    pub(super) slopes: TileMut<'a, T>,
}

impl<T: Element> Epilogue<T> for WithSlope<'_, T> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.values.row(at));
        prefetch(self.slopes.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, isa: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        add_bias(sums, &self.bias[at.column..]);
        let mut slopes = [0.0; NR];
        for (sum, slope) in S::as_mut_simd_f32s(sums).0.iter_mut().zip(S::as_mut_simd_f32s(&mut slopes).0) {
            (*sum, *slope) = value_and_slope(simd, self.activation, *sum);
        }
        T::store(isa, sums, self.values.row_mut(at));
        T::store(isa, &slopes, self.slopes.row_mut(at));
    }
}

/// Writes the sums.
pub(super) struct Plain<'a, T> {
    pub(super) out: TileMut<'a, T>,
}

impl<T: Element> Epilogue<T> for Plain<'_, T> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.out.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, _: S, isa: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        T::store(isa, sums, self.out.row_mut(at));
    }
}

/// Writes the sums multiplied by the entries of another matrix.
pub(super) struct Multiplied<'a, T> {
    pub(super) factors: Matrix<'a, T>,
    pub(super) out: TileMut<'a, T>,
}

impl<'a, T: Element> Multiplied<'a, T> {
    /// Returns the factors of the columns of `out` that a row of a micro-tile covers.
    #[inline(always)]
    fn factors(&self, at: Position) -> &'a [T] {
        let first = at.row * self.factors.columns + at.column;
        &self.factors.entries[first..first + self.out.row(at).len()]
    }
}

impl<T: Element> Epilogue<T> for Multiplied<'_, T> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.factors(at));
        prefetch(self.out.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, _: S, isa: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        sums.iter_mut().zip(self.factors(at)).for_each(|(sum, factor)| *sum *= factor.to_f32());
        T::store(isa, sums, self.out.row_mut(at));
    }
}

/// Adds the sums to f32 numbers.
pub(super) struct Added<'a> {
    pub(super) out: TileMut<'a, f32>,
}

impl<T: Element> Epilogue<T> for Added<'_> {
    #[inline(always)]
    fn prefetch(&self, at: Position) {
        prefetch(self.out.row(at));
    }

    #[inline(always)]
    fn store<S: Simd>(&mut self, _: S, _: Isa<T>, at: Position, sums: &mut [f32; NR]) {
        self.out.row_mut(at).iter_mut().zip(sums).for_each(|(out, sum)| *out += *sum);
    }
}

#[inline(always)]
fn add_bias<T: Float>(sums: &mut [f32; NR], bias: &[T]) {
    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias.to_f32());
}
