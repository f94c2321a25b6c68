//! The total loss of knowledge distillation: the weighted sum of soft and hard loss.

use tch::Tensor;

use crate::reduce::zero;
use crate::{SoftScaling, assert, hard_cross_entropy, soft_cross_entropy};

/// The settings of [`distillation_loss`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// T of the soft loss, above 0.
    pub temperature: f64,
    /// α, the weight of the soft loss.
    pub soft: f64,
    /// β, the weight of the hard loss.
    pub hard: f64,
    /// The factor of the soft loss besides α: 1 or T².
    pub scaling: SoftScaling,
}

impl Distillation {
    /// Returns the factor of the soft loss: α, or α·T².
    #[must_use]
    pub fn soft_factor(&self) -> f64 {
        match self.scaling {
            SoftScaling::Plain => self.soft,
            SoftScaling::TemperatureSquared => self.soft * self.temperature * self.temperature,
        }
    }
}

/// The total loss of knowledge distillation: L = α·L_soft (·T² if requested) + β·L_hard.
///
/// The losses are [`soft_cross_entropy`] over all rows and [`hard_cross_entropy`] over the labelled rows, both divided
/// by the same `count`. If only some rows have labels and each loss should be the mean over its own rows, add the two
/// yourself. A loss of weight 0 is not computed. No gradient reaches `teacher_logits`.
///
/// # Shapes
/// Both logits `[rows, C]`, finite; `labels` `[rows]`, `Int64`, each in `0..C` or [`IGNORE`](crate::IGNORE). `count` is
/// the number of rows in the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// If either loss panics, or if a weight is not finite.
///
/// ```
/// use nb_loss::{Distillation, SoftScaling, distillation_loss};
/// use tch::Tensor;
///
/// let settings = Distillation { temperature: 2.0, soft: 0.5, hard: 1.0, scaling: SoftScaling::TemperatureSquared };
/// let teacher = Tensor::from_slice2(&[[2.0 * 3f64.ln(), 0.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 1.0]]);
/// let loss = distillation_loss(&teacher, &student, &Tensor::from_slice(&[0i64]), &settings, 1);
/// // Both losses are log 2: 0.5·2²·log 2 + 1·log 2.
/// assert!((loss.double_value(&[]) - 3.0 * 2f64.ln()).abs() < 1e-12);
/// ```
pub fn distillation_loss(
    teacher_logits: &Tensor,
    student_logits: &Tensor,
    labels: &Tensor,
    distillation: &Distillation,
    count: i64,
) -> Tensor {
    assert::same_rows("logits", teacher_logits, student_logits);
    assert::one_label_per_row(student_logits, labels);
    assert::temperature(distillation.temperature);
    assert::weight("soft", distillation.soft);
    assert::weight("hard", distillation.hard);
    let soft = || soft_cross_entropy(teacher_logits, student_logits, distillation.temperature, count);
    let hard = || hard_cross_entropy(student_logits, labels, count);
    match (distillation.soft_factor(), distillation.hard) {
        (0.0, 0.0) => zero(student_logits),
        (soft_factor, 0.0) => soft() * soft_factor,
        (0.0, hard_factor) => hard() * hard_factor,
        (soft_factor, hard_factor) => soft() * soft_factor + hard() * hard_factor,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::IGNORE;
    use crate::testing::{close, gradient, matrix_pair, value, values};

    fn settings(temperature: f64, soft: f64, hard: f64, scaling: SoftScaling) -> Distillation {
        Distillation { temperature, soft, hard, scaling }
    }

    fn labels_for(logits: &Tensor) -> Tensor {
        let labels: Vec<i64> =
            (0..logits.size()[0]).map(|row| if row == 1 { IGNORE } else { row % logits.size()[1] }).collect();
        Tensor::from_slice(&labels)
    }

    #[test]
    fn a_loss_of_weight_0_is_not_computed() {
        // Infinite logits of the teacher would make the soft loss NaN if it were computed.
        let (teacher, student) = (Tensor::from_slice2(&[[f64::INFINITY, 0.0]]), Tensor::from_slice2(&[[0.2, 0.1]]));
        let labels = Tensor::from_slice(&[0i64]);
        let with = |soft, hard| settings(2.0, soft, hard, SoftScaling::TemperatureSquared);
        let hard_only = distillation_loss(&teacher, &student, &labels, &with(0.0, 0.5), 1);
        assert_eq!(value(&hard_only), 0.5 * value(&hard_cross_entropy(&student, &labels, 1)));
        let neither = |student: &Tensor| distillation_loss(&teacher, student, &labels, &with(0.0, 0.0), 1);
        assert_eq!((value(&neither(&student)), values(&gradient(neither, &student))), (0.0, vec![0.0, 0.0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_weighted_sum((v, z) in matrix_pair(), t in 0.5f64..8.0, soft in 0.0f64..3.0, hard in 0.0f64..3.0) {
            let labels = labels_for(&z);
            let (l_soft, l_hard) = (value(&soft_cross_entropy(&v, &z, t, 4)), value(&hard_cross_entropy(&z, &labels, 4)));
            for (scaling, factor) in [(SoftScaling::Plain, 1.0), (SoftScaling::TemperatureSquared, t * t)] {
                let found = distillation_loss(&v, &z, &labels, &settings(t, soft, hard, scaling), 4);
                close(&[value(&found)], &[soft * factor * l_soft + hard * l_hard], 1e-12);
            }
        }
    }
}
