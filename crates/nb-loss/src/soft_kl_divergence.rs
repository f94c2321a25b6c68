//! The soft loss as a KL divergence: 0 where student and teacher agree.

use tch::Tensor;

use crate::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};

/// KL divergence of the student's softened prediction from the teacher's: Σ_rows Σ_j p_j (log p_j − log q_j) / count.
///
/// p = softmax(v/T) from the teacher's logits v, q = softmax(z/T) from the student's logits z. This is
/// [`soft_cross_entropy`](crate::soft_cross_entropy) less the teacher's entropy: the gradient is the same, ∂/∂z =
/// (q − p) / (T·count), and the value is 0 where both predict the same. It is the soft loss of Neural Network Distiller
/// (Zmora et al. 2019; `distiller/knowledge_distillation.py` of IntelLabs/distiller), which has no factor of T² either;
/// [`soft_loss`] is the same with it, or with a temperature for each row.
///
/// The teacher is a constant: no gradient reaches `teacher_logits`. Both logarithms are of log-softmax, so that classes
/// of probability 0 add 0. Close to 0, rounding may leave the value slightly below it.
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
/// // p = (3/4, 1/4) and q = (1/2, 1/2).
/// let teacher = Tensor::from_slice2(&[[3f64.ln(), 0.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 1.0]]);
/// let loss = nb_loss::soft_kl_divergence(&teacher, &student, 1.0, 1);
/// assert!((loss.double_value(&[]) - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-12);
/// ```
pub fn soft_kl_divergence(teacher_logits: &Tensor, student_logits: &Tensor, temperature: f64, count: i64) -> Tensor {
    let soft =
        Soft { loss: SoftLoss::KlDivergence, temperature: Temperature::Same(temperature), scaling: SoftScaling::Plain };
    soft_loss(teacher_logits, student_logits, &soft, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::numeric::{close, finite_differences, gradient, matrix, matrix_pair, panic_of, value, values};
    use crate::soft_cross_entropy;

    #[test]
    fn the_teacher_gets_no_gradient() {
        let teacher = Tensor::from_slice2(&[[0.3, -0.2]]).set_requires_grad(true);
        let student = Tensor::from_slice2(&[[0.1, 0.4]]).set_requires_grad(true);
        soft_kl_divergence(&teacher, &student, 2.0, 1).backward();
        assert!(!teacher.grad().defined());
        assert!(student.grad().abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn classes_of_probability_0_add_0() {
        for kind in [Kind::Float, Kind::Double] {
            let teacher = Tensor::from_slice2(&[[1e4, -1e4, 0.0]]).to_kind(kind);
            let loss = |student: &Tensor| soft_kl_divergence(&teacher, student, 1.0, 1);
            assert_eq!((value(&loss(&teacher)), values(&gradient(loss, &teacher))), (0.0, vec![0.0; 3]));
            let student = Tensor::from_slice2(&[[-1e4, 1e4, 0.0]]).to_kind(kind);
            assert_eq!((value(&loss(&student)), values(&gradient(loss, &student))), (2e4, vec![-1.0, 1.0, 0.0]));
        }
    }

    #[test]
    fn a_batch_without_rows_is_0_with_a_zero_gradient() {
        let logits = Tensor::from_slice2(&[[f64::INFINITY, 0.0]]);
        let loss = |student: &Tensor| soft_kl_divergence(&logits, student, 1.0, 0);
        assert_eq!((value(&loss(&logits)), values(&gradient(loss, &logits))), (0.0, vec![0.0, 0.0]));
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| soft_kl_divergence(&logits(&[2, 3]), &logits(&[2, 4]), 1.0, 2));
        assert_eq!(message, "the teacher's logits have shape [2, 3] and the student's [2, 4], expected the same");
        let message = panic_of(|| soft_kl_divergence(&logits(&[2, 3]), &logits(&[2, 3]), -1.0, 2));
        assert_eq!(message, "the temperature is -1, expected a finite number above 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_cross_entropy_less_the_entropy((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let cross_entropy = |z: &Tensor| soft_cross_entropy(&v, z, temperature, 3);
            let divergence = |z: &Tensor| soft_kl_divergence(&v, z, temperature, 3);
            let expected = value(&cross_entropy(&z)) - value(&cross_entropy(&v));
            close(&[value(&divergence(&z))], &[expected], 1e-12);
            close(&values(&gradient(divergence, &z)), &values(&gradient(cross_entropy, &z)), 1e-15);
        }

        #[test]
        fn is_0_for_equal_predictions_and_never_below((v, z) in matrix_pair(), shift in -3.0f64..3.0) {
            prop_assert!(value(&soft_kl_divergence(&v, &z, 2.0, 1)) > -1e-15);
            close(&[value(&soft_kl_divergence(&z, &(&z + shift), 2.0, 1))], &[0.0], 1e-14);
        }

        #[test]
        fn equal_logits_have_no_gradient(z in matrix(), temperature in 0.5f64..8.0) {
            let found = gradient(|student| soft_kl_divergence(&z, student, temperature, 1), &z);
            close(&values(&found), &vec![0.0; z.numel()], 1e-15);
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let loss = |z: &Tensor| soft_kl_divergence(&v, z, temperature, 3);
            close(&values(&gradient(loss, &z)), &finite_differences(loss, &z), 1e-8);
        }
    }
}
