//! The soft loss of most methods: cross entropy of the student with the teacher's softened prediction.

use tch::Tensor;

use crate::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};

/// Cross entropy of the student's softened prediction with the teacher's: −Σ_rows Σ_j p_j log q_j / count.
///
/// p = softmax(v/T) from the teacher's logits v, q = softmax(z/T) from the student's logits z (Hinton, Vinyals and Dean
/// 2015, section 2). Up to the entropy of p, which is constant, this is the KL divergence from q to p, see
/// [`soft_kl_divergence`](crate::soft_kl_divergence); it is 0 only if both are certain of the same class.
/// [`soft_loss`] is the same with a temperature for each row or with T².
///
/// The teacher is a constant: no gradient reaches `teacher_logits`. The student's gradient is ∂/∂z = (q − p) / (T·count), which
/// shrinks as 1/T² for large T: T²·∂/∂z → ((z − z̄) − (v − v̄)) / (C·count). See [`SoftScaling`].
///
/// # Shapes
/// Both logits `[rows, C]`, finite. `count` is the number of rows in the whole global batch; 0 gives exactly 0. The
/// result is a scalar.
///
/// # Panics
/// Shapes that differ or are not two-dimensional, a temperature that is not a finite number above 0, a negative count.
///
/// ```
/// use tch::Tensor;
///
/// // p = (3/4, 1/4) and q = (1/2, 1/2): the loss is log 2.
/// let teacher = Tensor::from_slice2(&[[3f64.ln(), 0.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 1.0]]);
/// let loss = nb_loss::soft_cross_entropy(&teacher, &student, 1.0, 1);
/// assert!((loss.double_value(&[]) - 2f64.ln()).abs() < 1e-12);
/// ```
pub fn soft_cross_entropy(teacher_logits: &Tensor, student_logits: &Tensor, temperature: f64, count: i64) -> Tensor {
    let soft =
        Soft { loss: SoftLoss::CrossEntropy, temperature: Temperature::Same(temperature), scaling: SoftScaling::Plain };
    soft_loss(teacher_logits, student_logits, &soft, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax_with_temperature;
    use crate::testing::{close, gradient, matrix_pair, value, values};
    use proptest::prelude::*;

    #[test]
    fn a_certain_teacher_gives_the_hard_loss() {
        let teacher = Tensor::from_slice2(&[[1e4, -1e4, 0.0], [-1e4, 0.0, 1e4]]);
        let student = Tensor::from_slice2(&[[0.3, 2.0, -1.0], [0.4, 0.1, 0.2]]);
        let hard = crate::hard_cross_entropy(&student, &Tensor::from_slice(&[0i64, 2]), 2);
        assert_eq!(value(&soft_cross_entropy(&teacher, &student, 1.0, 2)), value(&hard));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_gradient_is_q_minus_p((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let softmax = |logits| softmax_with_temperature(logits, temperature);
            let expected = (softmax(&z) - softmax(&v)) / (temperature * 3.0);
            close(&values(&gradient(|z| soft_cross_entropy(&v, z, temperature, 3), &z)), &values(&expected), 1e-14);
        }

        #[test]
        fn the_gradient_times_t_squared_tends_to_a_constant((v, z) in matrix_pair()) {
            // q = 1/C + (z − z̄)/(C·T) + O(1/T²), and likewise for p, so
            // T²·(q − p)/(T·count) → ((z − z̄) − (v − v̄))/(C·count).
            let (count, n_classes) = (3.0, z.size()[1] as f64);
            let centred = |logits: &Tensor| logits - logits.mean_dim(-1, true, None);
            let limit = values(&((centred(&z) - centred(&v)) / (n_classes * count)));
            let scaled = |t: f64| values(&(gradient(|z| soft_cross_entropy(&v, z, t, 3), &z) * t * t));
            let error = |t| scaled(t).iter().zip(&limit).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // Logits are within ±3, so the O(1/T) remainder is below 36/T: ten times the temperature gives a tenth of
            // it.
            prop_assert!(error(1e3) < 0.036, "{}", error(1e3));
            prop_assert!(error(1e4) < 0.0036, "{}", error(1e4));
        }
    }
}
