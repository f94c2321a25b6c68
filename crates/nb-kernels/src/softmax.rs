//! Softmax of rows of scores, on vector registers; rows are padded to multiples of 16.

use pulp::Simd;

use crate::simd::exp;

/// The two numbers that turn the scores of a row into weights, exp(score − `largest`)·`factor`. A backward pass recomputes the
/// weights from them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Softmax {
    largest: f32,
    /// 1/Σ exp(score − largest)
    factor: f32,
}

impl Softmax {
    /// Turns the scores where `present` is 1 into weights, and those where it is 0 into 0. If a present score is NaN or ∞,
    /// every weight is NaN.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(simd: S, row: &mut [f32], present: &[f32]) -> Self {
        let (row, present) = (S::as_mut_simd_f32s(row).0, S::as_simd_f32s(present).0);
        let (zero, lowest) = (simd.splat_f32s(0.0), simd.splat_f32s(f32::NEG_INFINITY));
        let mut largest = lowest;
        for (score, present) in row.iter().zip(present) {
            let score = simd.select_f32s(simd.less_than_f32s(zero, *present), *score, lowest);
            largest = simd.max_f32s(largest, score);
        }
        let largest = simd.reduce_max_f32s(largest);
        let (shift, mut sum) = (simd.splat_f32s(largest), zero);
        for (score, present) in row.iter_mut().zip(present) {
            *score = simd.mul_f32s(exp(simd, simd.sub_f32s(*score, shift)), *present);
            sum = simd.add_f32s(sum, *score);
        }
        let factor = 1.0 / simd.reduce_sum_f32s(sum);
        let scale = simd.splat_f32s(factor);
        row.iter_mut().for_each(|weight| *weight = simd.mul_f32s(*weight, scale));
        Self { largest, factor }
    }

    /// Turns the same scores into the same weights, for the backward pass.
    #[inline(always)]
    pub(crate) fn recompute<S: Simd>(self, simd: S, row: &mut [f32], present: &[f32]) {
        let (row, present) = (S::as_mut_simd_f32s(row).0, S::as_simd_f32s(present).0);
        let (largest, factor) = (simd.splat_f32s(self.largest), simd.splat_f32s(self.factor));
        for (score, present) in row.iter_mut().zip(present) {
            *score = simd.mul_f32s(simd.mul_f32s(exp(simd, simd.sub_f32s(*score, largest)), *present), factor);
        }
    }
}

/// Replaces dL/d(weights) of a row by dL/d(scores), p·(g − Σ p·g).
#[inline(always)]
pub(crate) fn softmax_backward<S: Simd>(simd: S, grad: &mut [f32], weights: &[f32]) {
    let (grad, weights) = (S::as_mut_simd_f32s(grad).0, S::as_simd_f32s(weights).0);
    let mut sum = simd.splat_f32s(0.0);
    for (grad, weight) in grad.iter().zip(weights) {
        sum = simd.mul_add_e_f32s(*grad, *weight, sum);
    }
    let sum = simd.splat_f32s(simd.reduce_sum_f32s(sum));
    for (grad, weight) in grad.iter_mut().zip(weights) {
        *grad = simd.mul_f32s(*weight, simd.sub_f32s(*grad, sum));
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::simd::{ALIGN, dispatch};

    /// Computes the weights, and recomputes them from the same scores.
    struct Weights<'a> {
        scores: &'a [f32],
        present: &'a [f32],
    }

    impl WithSimd for Weights<'_> {
        type Output = (Vec<f32>, Vec<f32>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let (mut first, mut second) = (self.scores.to_vec(), self.scores.to_vec());
            let softmax = Softmax::of(simd, &mut first, self.present);
            softmax.recompute(simd, &mut second, self.present);
            (first, second)
        }
    }

    /// Covers scores far from 0 on either side, for which padding would be the largest entry or make the others vanish.
    #[test]
    fn weights_are_shares_of_the_present_scores() {
        for (shift, beyond) in [(0.0, 0.0), (-300.0, 0.0), (300.0, 0.0), (0.0, 500.0)] {
            for length in [1, 7, ALIGN, ALIGN + 3, 2 * ALIGN] {
                let score = |i: usize| if i < length { shift + (i * 7 % 11) as f32 * 0.5 } else { beyond };
                let scores: Vec<f32> = (0..2 * ALIGN).map(score).collect();
                let present: Vec<f32> = (0..2 * ALIGN).map(|i| f32::from(u8::from(i < length))).collect();
                let (first, second) = dispatch(Weights { scores: &scores, present: &present });
                let exact = |score: f32| f64::from(score - shift).exp();
                let sum: f64 = scores[..length].iter().map(|score| exact(*score)).sum();
                for (i, (first, second)) in first.iter().zip(&second).enumerate() {
                    let expected = if i < length { exact(scores[i]) / sum } else { 0.0 };
                    assert!((f64::from(*first) - expected).abs() <= 1e-6 * expected, "{shift} {length} {i}: {first}");
                    assert_eq!(first, second, "{shift} {length} {i}");
                }
            }
        }
    }

    #[test]
    fn a_nan_or_infinite_score_makes_every_weight_nan() {
        for bad in [f32::NAN, f32::INFINITY] {
            for place in [0, 3, ALIGN] {
                let mut scores = [0.5; 2 * ALIGN];
                scores[place] = bad;
                let present: [f32; 2 * ALIGN] = std::array::from_fn(|i| f32::from(u8::from(i <= ALIGN)));
                let (first, second) = dispatch(Weights { scores: &scores, present: &present });
                assert!(first.iter().chain(&second).all(|w| w.is_nan()), "{bad} at {place}: {first:?}, {second:?}");
            }
        }
    }
}
