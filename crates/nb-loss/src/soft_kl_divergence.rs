//! The soft loss as a KL divergence: 0 where student and teacher agree.

use tch::Tensor;

use crate::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};

/// KL divergence of the student's softened prediction from the teacher's: Σ_rows Σ_j p_j (log p_j − log q_j) / count.
///
/// p = softmax(v/T) from the teacher's logits v, q = softmax(z/T) from the student's logits z. This is
/// [`soft_cross_entropy`](crate::soft_cross_entropy) minus the teacher's entropy: the gradient is the same, ∂/∂z =
/// (q − p) / (T·count), and the value is 0 if both predict the same. It is the soft loss of Neural Network Distiller
/// (Zmora et al. 2019; `distiller/knowledge_distillation.py` of IntelLabs/distiller), which has no factor of T² either.
/// [`soft_loss`] is the same with T², or with a temperature for each row.
///
/// The teacher is a constant: no gradient reaches `teacher_logits`. Both logarithms come from log-softmax, so classes of
/// probability 0 add 0. Rounding may make a value close to 0 slightly negative.
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
    use super::*;
    use crate::soft_cross_entropy;
    use crate::testing::{close, gradient, matrix_pair, value, values};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_cross_entropy_minus_the_entropy((v, z) in matrix_pair(), temperature in 0.5f64..8.0) {
            let cross_entropy = |z: &Tensor| soft_cross_entropy(&v, z, temperature, 3);
            let divergence = |z: &Tensor| soft_kl_divergence(&v, z, temperature, 3);
            let expected = value(&cross_entropy(&z)) - value(&cross_entropy(&v));
            close(&[value(&divergence(&z))], &[expected], 1e-12);
            close(&values(&gradient(divergence, &z)), &values(&gradient(cross_entropy, &z)), 1e-15);
        }

        #[test]
        fn is_0_for_equal_predictions_and_never_negative((v, z) in matrix_pair(), shift in -3.0f64..3.0) {
            prop_assert!(value(&soft_kl_divergence(&v, &z, 2.0, 1)) > -1e-15);
            close(&[value(&soft_kl_divergence(&z, &(&z + shift), 2.0, 1))], &[0.0], 1e-14);
        }
    }
}
