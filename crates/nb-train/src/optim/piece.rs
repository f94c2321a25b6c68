//! AdamW's update of a piece of the parameters, entry by entry.

use std::ops::Range;

use half::bf16;
use nb_kernels::Float;

/// Entries per parallel task.
pub(super) const PIECE: usize = 1 << 15;

/// The factors of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    /// 1 − lr·λ
    pub(super) decay: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    /// lr / (1 − β₁ᵗ)
    pub(super) rate: f32,
    /// 1 / √(1 − β₂ᵗ)
    pub(super) correction: f32,
    pub(super) epsilon: f32,
}

impl Factors {
    /// The factors for parameters with or without weight decay.
    pub(super) fn with_decay(self, decays: bool) -> Self {
        Self { decay: if decays { self.decay } else { 1.0 }, ..self }
    }

    /// Updates one entry. Every path uses this function, so a deferred update has the same bits.
    #[inline(always)]
    pub(super) fn update(self, v: &mut f32, m: &mut f32, s: &mut f32, gradient: f32) {
        *m = self.beta1 * *m + (1.0 - self.beta1) * gradient;
        *s = self.beta2 * *s + (1.0 - self.beta2) * gradient * gradient;
        *v = *v * self.decay - self.rate * *m / (s.sqrt() * self.correction + self.epsilon);
    }
}

/// Slices of values and moments over the same parameters.
#[derive(Debug)]
pub(super) struct State<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) exp_avg: &'a mut [f32],
    pub(super) exp_avg_sq: &'a mut [f32],
}

impl State<'_> {
    /// The state of a range of the parameters.
    pub(super) fn range(&mut self, range: Range<usize>) -> State<'_> {
        State {
            values: &mut self.values[range.clone()],
            exp_avg: &mut self.exp_avg[range.clone()],
            exp_avg_sq: &mut self.exp_avg_sq[range],
        }
    }
}

/// Updates values and moments of a piece, and leaves the gradient at zero.
#[inline(always)]
pub(super) fn update_piece(state: &mut State<'_>, grads: &mut [f32], factors: Factors, clip: f32) {
    let n = grads.len();
    let (values, exp_avg, exp_avg_sq) = (&mut state.values[..n], &mut state.exp_avg[..n], &mut state.exp_avg_sq[..n]);
    for i in 0..n {
        factors.update(&mut values[i], &mut exp_avg[i], &mut exp_avg_sq[i], grads[i] * clip);
        grads[i] = 0.0;
    }
}

/// Does the same as [`update_piece`], and writes the values to `copies`, rounded.
#[inline(always)]
pub(super) fn update_piece_and_copies(
    state: &mut State<'_>,
    grads: &mut [f32],
    copies: &mut [bf16],
    factors: Factors,
    clip: f32,
) {
    let n = grads.len();
    let (values, exp_avg, exp_avg_sq) = (&mut state.values[..n], &mut state.exp_avg[..n], &mut state.exp_avg_sq[..n]);
    let copies = &mut copies[..n];
    for i in 0..n {
        factors.update(&mut values[i], &mut exp_avg[i], &mut exp_avg_sq[i], grads[i] * clip);
        copies[i] = Float::from_f32(values[i]);
        grads[i] = 0.0;
    }
}
