//! The soft loss as most methods take it: cross entropy of the student with the teacher's softened prediction.

use tch::Tensor;

use crate::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};

/// Cross entropy of the student's softened prediction with the teacher's: −Σ_rows Σ_j p_j log q_j / count.
///
/// p = softmax(v/T) from the teacher's logits v, q = softmax(z/T) from the student's logits z (Hinton, Vinyals and Dean
/// 2015, section 2). Up to the entropy of p, which is constant, this is the KL divergence from q to p, see
/// [`soft_kl_divergence`](crate::soft_kl_divergence); it is 0 only where the teacher is certain. [`soft_loss`] is the
/// same with a temperature for each row or with T².
///
/// The teacher is a constant: no gradient reaches `teacher_logits`. The student's is ∂/∂z = (q − p) / (T·count), which
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
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::numeric::{close, finite_differences, gradient, matrix, matrix_pair, panic_of, value, values};
    use crate::softmax_with_temperature;

    #[test]
    fn the_teacher_gets_no_gradient() {
        let teacher = Tensor::from_slice2(&[[0.3, -0.2]]).set_requires_grad(true);
        let student = Tensor::from_slice2(&[[0.1, 0.4]]).set_requires_grad(true);
        soft_cross_entropy(&teacher, &student, 2.0, 1).backward();
        assert!(!teacher.grad().defined());
        assert!(student.grad().abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn a_certain_teacher_makes_it_the_hard_loss() {
        let teacher = Tensor::from_slice2(&[[1e4, -1e4, 0.0], [-1e4, 0.0, 1e4]]);
        let student = Tensor::from_slice2(&[[0.3, 2.0, -1.0], [0.4, 0.1, 0.2]]);
        let hard = crate::hard_cross_entropy(&student, &Tensor::from_slice(&[0i64, 2]), 2);
        assert_eq!(value(&soft_cross_entropy(&teacher, &student, 1.0, 2)), value(&hard));
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for kind in [Kind::Float, Kind::Double] {
            let teacher = Tensor::from_slice2(&[[1e4, -1e4, 0.0]]).to_kind(kind);
            let loss = |student: &Tensor| soft_cross_entropy(&teacher, student, 1.0, 1);
            let student = Tensor::from_slice2(&[[-1e4, 1e4, 0.0]]).to_kind(kind);
            assert_eq!(value(&loss(&student)), 2e4);
            assert_eq!(values(&gradient(loss, &student)), [-1.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        let (teacher, student) = (Tensor::from_slice2(&[[0.3, -1.7]]), Tensor::from_slice2(&[[1.1, 0.2]]));
        let (teacher, student) = (teacher.to_kind(Kind::BFloat16), student.to_kind(Kind::BFloat16));
        let found = soft_cross_entropy(&teacher, &student, 2.0, 1);
        let expected = soft_cross_entropy(&teacher.to_kind(Kind::Float), &student.to_kind(Kind::Float), 2.0, 1);
        assert_eq!((found.kind(), value(&found)), (Kind::Float, value(&expected)));
    }

    #[test]
    fn a_batch_without_rows_is_0_with_a_zero_gradient() {
        let logits = Tensor::from_slice2(&[[f64::INFINITY, 0.0]]);
        let loss = |student: &Tensor| soft_cross_entropy(&logits, student, 1.0, 0);
        assert_eq!((value(&loss(&logits)), values(&gradient(loss, &logits))), (0.0, vec![0.0, 0.0]));
        let none = Tensor::zeros([0, 3], (Kind::Double, tch::Device::Cpu));
        assert_eq!(value(&soft_cross_entropy(&none, &none, 1.0, 5)), 0.0);
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| soft_cross_entropy(&logits(&[2, 3]), &logits(&[2, 4]), 1.0, 2));
        assert_eq!(message, "the teacher's logits have shape [2, 3] and the student's [2, 4], expected the same");
        let message = panic_of(|| soft_cross_entropy(&logits(&[2]), &logits(&[2]), 1.0, 2));
        assert_eq!(message, "logits has shape [2], expected two dimensions");
        let message = panic_of(|| soft_cross_entropy(&logits(&[2, 3]), &logits(&[2, 3]), 1.0, -1));
        assert_eq!(message, "the count of a mean is -1, expected at least 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_gradient_is_that_of_finite_differences((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let loss = |z: &Tensor| soft_cross_entropy(&v, z, temperature, 3);
            close(&values(&gradient(loss, &z)), &finite_differences(loss, &z), 1e-8);
        }

        #[test]
        fn the_gradient_is_q_less_p((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let softmax = |logits| softmax_with_temperature(logits, temperature);
            let expected = (softmax(&z) - softmax(&v)) / (temperature * 3.0);
            close(&values(&gradient(|z| soft_cross_entropy(&v, z, temperature, 3), &z)), &values(&expected), 1e-14);
        }

        #[test]
        fn the_gradient_times_t_squared_tends_to_a_constant((v, z) in matrix_pair()) {
            // q = 1/C + (z − z̄)/(C·T) + O(1/T²), and p alike, so that T²·(q − p)/(T·count) → ((z − z̄) − (v −
            // v̄))/(C·count).
            let (count, n_classes) = (3.0, z.size()[1] as f64);
            let centred = |logits: &Tensor| logits - logits.mean_dim(-1, true, None);
            let limit = values(&((centred(&z) - centred(&v)) / (n_classes * count)));
            let scaled = |t: f64| values(&(gradient(|z| soft_cross_entropy(&v, z, t, 3), &z) * t * t));
            let off = |t| scaled(t).iter().zip(&limit).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // Logits lie within ±3, so that the O(1/T) rest is below 36/T; ten times the temperature, a tenth of it.
            prop_assert!(off(1e3) < 0.036, "{}", off(1e3));
            prop_assert!(off(1e4) < 0.0036, "{}", off(1e4));
        }

        #[test]
        fn equal_logits_have_no_gradient(z in matrix(), temperature in 0.5f64..8.0) {
            let found = gradient(|student| soft_cross_entropy(&z, student, temperature, 1), &z);
            close(&values(&found), &vec![0.0; z.numel()], 1e-15);
        }

        #[test]
        fn micro_batches_sum_to_the_batch((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let n_rows = z.size()[0];
            let whole = value(&soft_cross_entropy(&v, &z, temperature, n_rows));
            let parts: f64 = (0..n_rows)
                .map(|row| value(&soft_cross_entropy(&v.narrow(0, row, 1), &z.narrow(0, row, 1), temperature, n_rows)))
                .sum();
            prop_assert!((whole - parts).abs() < 1e-12);
        }
    }
}
