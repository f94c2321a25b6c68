//! The update of AdamW, entry by entry.

use std::ops::Range;

use nb_kernels::threads;
use nb_torch::cpu_slices::{with_slices, write};
use nb_torch::{Hyperparameters, Parameters, fused_adamw};
use pulp::Arch;
use tch::{Kind, Tensor};

use super::group::ParamGroup;
use super::span::Span;

/// Entries per parallel task.
const PIECE: usize = 1 << 15;

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

    /// Updates one entry. Every path uses this function, so that a late update has the same bits.
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
    fn range(&mut self, range: Range<usize>) -> State<'_> {
        State {
            values: &mut self.values[range.clone()],
            exp_avg: &mut self.exp_avg[range.clone()],
            exp_avg_sq: &mut self.exp_avg_sq[range],
        }
    }
}

/// A parallel task of the update on the CPU.
struct Piece<'a> {
    state: State<'a>,
    grads: &'a mut [f32],
}

impl<'a> Piece<'a> {
    /// Cuts a span of parameters into pieces.
    fn all(state: State<'a>, grads: &'a mut [f32]) -> Vec<Self> {
        let mut exp_avg = state.exp_avg.chunks_mut(PIECE);
        let mut exp_avg_sq = state.exp_avg_sq.chunks_mut(PIECE);
        let mut grads = grads.chunks_mut(PIECE);
        let mut pieces = Vec::new();
        for values in state.values.chunks_mut(PIECE) {
            let (Some(exp_avg), Some(exp_avg_sq), Some(grads)) = (exp_avg.next(), exp_avg_sq.next(), grads.next())
            else {
                break; // never: the buffers of a group are equally long
            };
            pieces.push(Self { state: State { values, exp_avg, exp_avg_sq }, grads });
        }
        pieces
    }
}

/// Updates a group on the CPU: all cores, each entry touched once.
pub(super) fn update_host(group: &mut ParamGroup, factors: Factors, clip: f32) {
    let ParamGroup { values, grads, exp_avg, exp_avg_sq, spans, rows, .. } = group;
    with_slices([values, grads, exp_avg, exp_avg_sq].map(write::<f32>), |[values, grads, exp_avg, exp_avg_sq]| {
        let mut state = State { values, exp_avg, exp_avg_sq };
        for &Span { start, len, decays } in spans.iter() {
            let factors = factors.with_decay(decays);
            let range = start..start + len;
            let pieces = Piece::all(state.range(range.clone()), &mut grads[range]);
            threads::for_each(pieces.into_iter(), |Piece { mut state, grads }| {
                Arch::new().dispatch(|| update_piece(&mut state, grads, factors, clip));
            });
        }
        if let Some(rows) = rows {
            rows.update(state, grads, factors, clip);
        }
    });
}

/// Σ g², on all cores. The tasks have a fixed size, so the sum does not depend on the number of threads.
pub(super) fn sum_of_squares(grads: &[f32]) -> f64 {
    let mut sums = vec![0.0; grads.len().div_ceil(PIECE)];
    threads::for_each(sums.iter_mut().zip(grads.chunks(PIECE)), |(sum, piece)| {
        *sum = Arch::new().dispatch(|| squares(piece));
    });
    sums.into_iter().sum()
}

/// Σ g² on this thread, in partial sums that fill vector registers.
#[inline(always)]
pub(super) fn squares(grads: &[f32]) -> f64 {
    let (whole, rest) = grads.as_chunks::<32>();
    let mut sums = [0.0_f64; 32];
    for part in whole {
        sums.iter_mut().zip(part).for_each(|(sum, &g)| *sum += f64::from(g) * f64::from(g));
    }
    sums.into_iter().sum::<f64>() + rest.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>()
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

/// Updates a group with libtorch's fused kernel, on GPUs.
pub(super) fn update_fused(group: &mut ParamGroup, hyperparameters: Hyperparameters, step: u64, clip: &Tensor) {
    for decays in [true, false] {
        let spans: Vec<&Span> = group.spans.iter().filter(|span| span.decays == decays).collect();
        let of = |buffer: &Tensor| -> Vec<Tensor> { spans.iter().map(|span| span.of(buffer)).collect() };
        let [values, grads, exp_avg, exp_avg_sq] =
            [&group.values, &group.grads, &group.exp_avg, &group.exp_avg_sq].map(of);
        let parameters = Parameters { values: &values, grads: &grads, exp_avg: &exp_avg, exp_avg_sq: &exp_avg_sq };
        let weight_decay = if decays { hyperparameters.weight_decay } else { 0.0 };
        let updated = fused_adamw(&parameters, &Hyperparameters { weight_decay, ..hyperparameters }, step, clip);
        updated.unwrap_or_else(|e| panic!("libtorch's fused AdamW failed: {e}"));
    }
    let _ = group.grads.zero_();
}

/// Updates a group with libtorch's operations, on other devices.
pub(super) fn update_plain(group: &mut ParamGroup, f: Factors, clip: &Tensor) {
    let clip = clip.to_kind(Kind::Float);
    let used = clip.ne(0.0).to_kind(Kind::Float); // 1, or 0 for an update that is skipped
    for span in &group.spans {
        let part = |t: &Tensor| span.of(t);
        let (mut v, mut g, mut m, mut s) =
            (part(&group.values), part(&group.grads), part(&group.exp_avg), part(&group.exp_avg_sq));
        // 0 times infinity or NaN is NaN.
        let gradient = (&g * &clip).nan_to_num(0.0, 0.0, 0.0);
        let _ = m.lerp_tensor_(&gradient, &(&used * f64::from(1.0 - f.beta1)));
        let _ = s.lerp_tensor_(&gradient.square(), &(&used * f64::from(1.0 - f.beta2)));
        let change = &m / (s.sqrt() * f64::from(f.correction) + f64::from(f.epsilon)) * f64::from(f.rate);
        let decayed = &used * f64::from(f.with_decay(span.decays).decay - 1.0) + 1.0;
        let _ = v.g_mul_(&decayed).g_sub_(&(change * &used));
        let _ = g.zero_();
    }
    debug_assert_eq!(group.values.kind(), Kind::Float);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_many_pieces_add_up() {
        let numbers: Vec<f32> = (0..2 * PIECE + 77).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
        let expected: f64 = numbers.iter().map(|&g| f64::from(g).powi(2)).sum();
        assert_eq!(sum_of_squares(&numbers), expected); // integers: exact in any order
        let mut broken = numbers;
        broken[PIECE + 5] = f32::INFINITY;
        assert_eq!(sum_of_squares(&broken), f64::INFINITY);
        broken[3] = f32::NAN;
        assert!(sum_of_squares(&broken).is_nan());
        assert_eq!(sum_of_squares(&[]), 0.0);
    }
}
