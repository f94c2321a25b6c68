//! The activations of the feed-forward layer.

use pulp::{Simd, WithSimd};

use crate::simd::{ALIGN, activate, dispatch};

/// An activation function, applied entry by entry.
///
/// ```
/// use nb_kernels::Activation;
/// let mut x = [-1.0, 0.0, 2.0];
/// Activation::Relu.apply(&mut x);
/// assert_eq!(x, [0.0, 0.0, 2.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), with the error function.
    Gelu,
    /// GELU by its tanh approximation, x·σ(2·√(2/π)·(x + 0.044715·x³)).
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    Silu,
}

impl Activation {
    /// Replaces each entry x by f(x), on the calling thread.
    pub fn apply(self, x: &mut [f32]) {
        dispatch(Apply { activation: self, x });
    }
}

struct Apply<'a> {
    activation: Activation,
    x: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (blocks, rest) = self.x.as_chunks_mut::<ALIGN>();
        for block in blocks {
            apply_block(simd, self.activation, block);
        }
        let mut block = [0.0; ALIGN];
        block[..rest.len()].copy_from_slice(rest);
        apply_block(simd, self.activation, &mut block);
        rest.copy_from_slice(&block[..rest.len()]);
    }
}

#[inline(always)]
fn apply_block<S: Simd>(simd: S, activation: Activation, block: &mut [f32; ALIGN]) {
    for x in S::as_mut_simd_f32s(block).0 {
        *x = activate(simd, activation, *x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_the_same_wherever_it_is() {
        let xs = nb_testing::wave(ALIGN + 3, 0.0);
        let mut all = xs.clone();
        Activation::Gelu.apply(&mut all);
        for (x, expected) in xs.into_iter().zip(all) {
            let mut alone = [x];
            Activation::Gelu.apply(&mut alone);
            assert_eq!(alone[0], expected, "f({x})");
        }
    }
}
