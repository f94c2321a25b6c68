//! The update itself, entry by entry.

use nb_kernels::threads;
use nb_torch::cpu_slices::{with_slices, write};
use nb_torch::{Hyperparameters, Parameters, fused_adamw};
use pulp::Arch;
use tch::{Kind, Tensor};

use super::group::{Group, Span};

/// Entries per parallel piece.
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
    /// For parameters that decay, or for those that do not.
    pub(super) fn with_decay(self, decays: bool) -> Self {
        Self { decay: if decays { self.decay } else { 1.0 }, ..self }
    }

    /// One entry's update. Written once, so that whoever updates later does it to the same bits.
    #[inline(always)]
    pub(super) fn update(self, v: &mut f32, m: &mut f32, s: &mut f32, gradient: f32) {
        *m = self.beta1 * *m + (1.0 - self.beta1) * gradient;
        *s = self.beta2 * *s + (1.0 - self.beta2) * gradient * gradient;
        *v = *v * self.decay - self.rate * *m / (s.sqrt() * self.correction + self.epsilon);
    }
}

/// The pass on the CPU: all cores, each entry touched once.
pub(super) fn update_host(group: &mut Group, factors: Factors, clip: f32) {
    let Group { values, grads, first, second, spans, rows, .. } = group;
    with_slices([values, grads, first, second].map(write::<f32>), |[values, grads, first, second]| {
        for &Span { start, len, decays } in spans.iter() {
            let factors = factors.with_decay(decays);
            let span = start..start + len;
            let pairs = values[span.clone()].chunks_mut(PIECE).zip(grads[span.clone()].chunks_mut(PIECE));
            let moments = first[span.clone()].chunks_mut(PIECE).zip(second[span].chunks_mut(PIECE));
            threads::for_each(pairs.zip(moments), |(pair, moments)| {
                Arch::new().dispatch(|| update_piece(pair, moments, factors, clip));
            });
        }
        if let Some(rows) = rows {
            rows.update([values, grads, first, second], factors, clip);
        }
    });
}

/// Σ g², on all cores. The pieces are fixed, so the sum does not depend on the number of threads.
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

/// Two slices of equal length.
pub(super) type Pair<'a> = (&'a mut [f32], &'a mut [f32]);

/// Values and gradients, first and second moments of a piece. Leaves the gradient at zero.
#[inline(always)]
pub(super) fn update_piece((values, grads): Pair<'_>, (first, second): Pair<'_>, factors: Factors, clip: f32) {
    for ((v, g), (m, s)) in values.iter_mut().zip(grads).zip(first.iter_mut().zip(second)) {
        factors.update(v, m, s, *g * clip);
        *g = 0.0;
    }
}

/// The same with libtorch's fused kernel, on GPUs.
pub(super) fn update_fused(group: &mut Group, how: Hyperparameters, step: u64, clip: &Tensor) {
    for decays in [true, false] {
        let spans: Vec<&Span> = group.spans.iter().filter(|span| span.decays == decays).collect();
        let of = |buffer: &Tensor| -> Vec<Tensor> { spans.iter().map(|span| span.of(buffer)).collect() };
        let [values, grads, first, second] = [&group.values, &group.grads, &group.first, &group.second].map(of);
        let parameters = Parameters { values: &values, grads: &grads, first: &first, second: &second };
        let weight_decay = if decays { how.weight_decay } else { 0.0 };
        let updated = fused_adamw(&parameters, &Hyperparameters { weight_decay, ..how }, step, clip);
        updated.unwrap_or_else(|e| panic!("an update by libtorch's kernel: {e}"));
    }
    let _ = group.grads.zero_();
}

/// The same with libtorch's operations, for other devices.
pub(super) fn update_plain(group: &mut Group, f: Factors, clip: &Tensor) {
    let clip = clip.to_kind(Kind::Float);
    let used = clip.ne(0.0).to_kind(Kind::Float); // 1, or 0 for an update that is left out
    for span in &group.spans {
        let part = |t: &Tensor| span.of(t);
        let (mut v, mut g, mut m, mut s) =
            (part(&group.values), part(&group.grads), part(&group.first), part(&group.second));
        // 0 times what is not finite is no number either.
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
