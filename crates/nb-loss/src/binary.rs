//! The losses of multi-label classification: each label has a sigmoid of its own, not a share of a softmax.

use tch::Tensor;

use crate::reduce::{compute_kind, mean};
use crate::soft::{Soft, SoftLoss, weighted_sum};
use crate::{IGNORE, assert};

/// The hard loss of multi-label classification: −Σ_rows Σ_c [w_c·y_c·log σ(z_c) + (1 − y_c)·log σ(−z_c)] / count, the sum of
/// the labels' binary cross entropies.
///
/// A row counts once, however many labels there are, as in [`hard_cross_entropy`](crate::hard_cross_entropy). PyTorch's
/// `BCEWithLogitsLoss` takes the mean over rows *and* labels, which is this divided by C. The weights are its `pos_weight`:
/// they apply to rows that have the label.
///
/// Rows whose targets are [`IGNORE`] are skipped: they add nothing to the sum, get no gradient, and should not be in `count`.
///
/// # Shapes
/// `logits` `[rows, C]`, finite; `targets` `[rows, C]`, floating-point: 1 where the label applies, 0 where not, or [`IGNORE`] in
/// the complete row; `weights` `[C]`, at least 0. `count` is the number of labelled rows in the whole global batch; 0 gives
/// exactly 0. The result is a scalar.
///
/// # Panics
/// Other shapes, targets that are not floating-point numbers, a negative count.
///
/// ```
/// use tch::Tensor;
///
/// // Probabilities 1/2 and 3/4; only the second label applies.
/// let logits = Tensor::from_slice2(&[[0.0, 3f64.ln()]]);
/// let targets = Tensor::from_slice2(&[[0.0, 1.0]]);
/// let loss = nb_loss::binary_cross_entropy(&logits, &targets, None, 1);
/// assert!((loss.double_value(&[]) - (2f64.ln() + (4f64 / 3.0).ln())).abs() < 1e-12);
/// let weights = Tensor::from_slice(&[5.0, 3.0]);
/// let loss = nb_loss::binary_cross_entropy(&logits, &targets, Some(&weights), 1);
/// assert!((loss.double_value(&[]) - (2f64.ln() + 3.0 * (4f64 / 3.0).ln())).abs() < 1e-12);
/// ```
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor, weights: Option<&Tensor>, count: i64) -> Tensor {
    assert::count(count);
    mean(&each_cross_entropy(logits, targets, weights).sum(compute_kind(logits)), count, logits)
}

/// The soft loss of multi-label classification: Σ_r w_r·Σ_c D_rc / count, where D_rc is the cross entropy or the KL divergence of
/// label c of row r at its temperature T_r, and w_r = 1 or T_r².
///
/// Each label is a choice of two, with p = σ(v/T) from the teacher's logits v and q = σ(z/T) from the student's z: the cross entropy
/// is −p log q − (1 − p) log(1 − q). A softmax over the labels would be wrong, because their probabilities do not sum to 1. The sum
/// over labels of binary divergences is the logit term of Yang et al. 2023 (Multi-Label Knowledge Distillation, section 3.2), here
/// with a temperature. [`soft_loss`](crate::soft_loss) is its counterpart for one label per row.
///
/// Teacher and temperatures are constants. The student's gradient is ∂/∂z_rc = w_r·(q − p) / (T_r·count) for either loss.
///
/// # Shapes
/// As in [`soft_loss`](crate::soft_loss).
///
/// # Panics
/// As in [`soft_loss`](crate::soft_loss).
///
/// ```
/// use nb_loss::{Soft, SoftLoss, SoftScaling, Temperature, binary_soft_loss};
/// use tch::Tensor;
///
/// // At temperature 2, p = 3/4 and q = 1/2 for both labels.
/// let teacher = Tensor::from_slice2(&[[2.0 * 3f64.ln(), 2.0 * 3f64.ln()]]);
/// let student = Tensor::from_slice2(&[[0.0, 0.0]]);
/// let temperature = Temperature::Same(2.0);
/// let soft = Soft { loss: SoftLoss::CrossEntropy, temperature, scaling: SoftScaling::Plain };
/// let loss = binary_soft_loss(&teacher, &student, &soft, 1);
/// assert!((loss.double_value(&[]) - 2.0 * 2f64.ln()).abs() < 1e-12);
/// ```
pub fn binary_soft_loss(teacher_logits: &Tensor, student_logits: &Tensor, soft: &Soft, count: i64) -> Tensor {
    soft.check(teacher_logits, student_logits, count);
    let kind = compute_kind(student_logits);
    let teacher = soft.temperature.divide(&teacher_logits.detach());
    let student = soft.temperature.divide(student_logits);
    let p = teacher.sigmoid().to_kind(kind); // [rows, C]
    let not_p = (-&teacher).sigmoid().to_kind(kind); // 1 − p would round to 0 where p is close to 1
    let (log_q, log_not_q) = (student.log_sigmoid(), (-&student).log_sigmoid());
    let terms = match soft.loss {
        SoftLoss::CrossEntropy => -(p * log_q + not_p * log_not_q),
        SoftLoss::KlDivergence => {
            let log = |logits: &Tensor| logits.log_sigmoid().to_kind(kind);
            p * (log(&teacher) - log_q) + not_p * (log(&-&teacher) - log_not_q)
        }
    }; // [rows, C]
    mean(&weighted_sum(&terms, soft, student_logits), count, student_logits)
}

/// The share of decisions on which student and teacher agree, and the mean over the rows of Σ_c KL(p_t‖p_s) at temperature 1: the
/// counterpart of [`agreement`](crate::agreement) for multi-label classification.
///
/// A decision is a label of a row: does it apply, that is, is its logit above 0? Both numbers are means over the given rows. They are
/// constants: no gradient reaches the logits.
///
/// # Shapes
/// Both logits `[rows, C]`, finite; the result `[2]`, in `f32` for 16-bit logits. Without rows both numbers are 0.
///
/// # Panics
/// Shapes that differ or are not two-dimensional.
///
/// ```
/// use tch::Tensor;
///
/// let teacher = Tensor::from_slice2(&[[1.0, -1.0]]);
/// assert_eq!(nb_loss::binary_agreement(&teacher, &-&teacher).double_value(&[0]), 0.0);
/// assert_eq!(nb_loss::binary_agreement(&teacher, &teacher.abs()).double_value(&[0]), 0.5);
/// ```
pub fn binary_agreement(teacher_logits: &Tensor, student_logits: &Tensor) -> Tensor {
    let (n_rows, n_labels) = assert::same_rows("logits", teacher_logits, student_logits);
    let (teacher, student) = (teacher_logits.detach(), student_logits.detach());
    let equal = teacher.gt(0.0).eq_tensor(&student.gt(0.0)); // [rows, C]
    let share = mean(&equal.sum(compute_kind(&student)), n_rows * n_labels, &student);
    let soft = Soft { loss: SoftLoss::KlDivergence, ..Soft::default() };
    Tensor::stack(&[share, binary_soft_loss(&teacher, &student, &soft, n_rows)], 0)
}

/// Returns the cross entropy of each label, `[rows, C]`: 0 where the target is [`IGNORE`].
pub(crate) fn each_cross_entropy(logits: &Tensor, targets: &Tensor, weights: Option<&Tensor>) -> Tensor {
    assert::one_target_per_logit(logits, targets);
    let kind = compute_kind(logits);
    let (logits, targets) = (logits.to_kind(kind), targets.to_kind(kind));
    let positive = &targets.clamp_min(0.0) * logits.log_sigmoid();
    let positive = match weights {
        None => positive,
        Some(weights) => {
            assert_eq!(weights.size(), [logits.size()[1]], "one weight for each label");
            positive * weights.to_kind(kind)
        }
    };
    let is_known = targets.ne(IGNORE).to_kind(kind);
    (positive + (1.0 - targets) * (-&logits).log_sigmoid()) * -is_known
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::{Device, Kind, Reduction};

    use super::*;
    use crate::testing::{close, gradient, matrix, matrix_pair, panic_of, value, values};
    use crate::{SoftScaling, Temperature};

    fn targets(like: &Tensor) -> Tensor {
        let n = like.numel() as i64;
        (Tensor::arange(n, (Kind::Double, Device::Cpu)) * 5.0 + 2.0)
            .remainder(3.0)
            .lt(1.0)
            .to_kind(Kind::Double)
            .view_as(like)
    }

    #[test]
    fn ignored_rows_add_nothing() {
        let logits = Tensor::from_slice2(&[[0.3, -2.0], [1.0, 4.0]]);
        let ignored = IGNORE as f64;
        let with = Tensor::from_slice2(&[[1.0, 0.0], [ignored, ignored]]);
        let loss = |logits: &Tensor| binary_cross_entropy(logits, &with, None, 1);
        let alone = binary_cross_entropy(&logits.narrow(0, 0, 1), &with.narrow(0, 0, 1), None, 1);
        assert_eq!(value(&loss(&logits)), value(&alone));
        assert_eq!(values(&gradient(loss, &logits))[2..], [0.0, 0.0]);
        assert_eq!(value(&binary_cross_entropy(&logits, &with, None, 0)), 0.0);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            let logits = Tensor::from_slice2(&[[1e4, -1e4]]).to_kind(kind);
            let wrong = Tensor::from_slice2(&[[0.0, 1.0]]);
            assert!((value(&binary_cross_entropy(&logits, &wrong, None, 1)) - 2e4).abs() < 100.0);
            let soft = Soft { loss: SoftLoss::KlDivergence, ..Soft::default() };
            assert_eq!(value(&binary_soft_loss(&logits, &logits, &soft, 1)), 0.0);
            assert!(value(&binary_soft_loss(&logits, &-&logits, &soft, 1)).is_finite());
        }
    }

    #[test]
    fn a_certain_teacher_gives_the_hard_loss() {
        let teacher = Tensor::from_slice2(&[[1e4, -1e4, -1e4], [-1e4, 1e4, 1e4]]);
        let student = Tensor::from_slice2(&[[0.3, 2.0, -1.0], [0.4, 0.1, 0.2]]);
        let hard = binary_cross_entropy(&student, &teacher.gt(0.0).to_kind(Kind::Double), None, 2);
        close(&[value(&binary_soft_loss(&teacher, &student, &Soft::default(), 2))], &[value(&hard)], 1e-14);
    }

    #[test]
    fn the_teacher_is_a_constant() {
        let logits = Tensor::from_slice2(&[[0.3, -0.2]]).set_requires_grad(true);
        let student = Tensor::from_slice2(&[[0.1, 0.2]]);
        assert!(!binary_soft_loss(&logits, &student, &Soft::default(), 1).requires_grad());
        assert!(!binary_agreement(&logits, &logits).requires_grad());
    }

    #[test]
    fn bad_arguments_are_named() {
        let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
        let logits = zeros(&[2, 3], Kind::Float);
        let loss = |targets: &Tensor| panic_of(|| binary_cross_entropy(&logits, targets, None, 1));
        assert_eq!(loss(&zeros(&[2], Kind::Float)), "targets have shape [2], expected [2, 3], that of the logits");
        assert_eq!(loss(&zeros(&[2, 3], Kind::Int64)), "targets are Int64, expected a floating-point kind");
        let weights = zeros(&[2], Kind::Float);
        let message = panic_of(|| binary_cross_entropy(&logits, &logits, Some(&weights), 1));
        assert!(message.contains("one weight for each label"), "{message}");
        let other = zeros(&[2, 4], Kind::Float);
        let message = panic_of(|| binary_soft_loss(&logits, &other, &Soft::default(), 1));
        assert_eq!(message, "the teacher's logits have shape [2, 3] and the student's [2, 4], expected the same");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// PyTorch's mean over rows and labels is this divided by C.
        #[test]
        fn the_hard_loss_is_c_times_that_of_pytorch(z in matrix()) {
            let (targets, labels) = (targets(&z), z.size()[1]);
            let weights = Tensor::arange(labels, (Kind::Double, Device::Cpu)) + 0.5;
            let loss = |z: &Tensor| binary_cross_entropy(z, &targets, Some(&weights), z.size()[0]);
            let pytorch = |z: &Tensor| {
                z.binary_cross_entropy_with_logits(&targets, None::<Tensor>, Some(weights.shallow_clone()), Reduction::Mean) * labels as f64
            };
            close(&[value(&loss(&z))], &[value(&pytorch(&z))], 1e-12);
            close(&values(&gradient(loss, &z)), &values(&gradient(pytorch, &z)), 1e-14);
        }

        #[test]
        fn the_gradient_is_q_minus_p((v, z) in matrix_pair(), t in 0.5f64..8.0) {
            for loss in [SoftLoss::CrossEntropy, SoftLoss::KlDivergence] {
                for (scaling, factor) in [(SoftScaling::Plain, 1.0), (SoftScaling::TemperatureSquared, t * t)] {
                    let soft = Soft { loss, temperature: Temperature::Same(t), scaling };
                    let expected = ((&z / t).sigmoid() - (&v / t).sigmoid()) * (factor / (t * 3.0));
                    close(&values(&gradient(|z| binary_soft_loss(&v, z, &soft, 3), &z)), &values(&expected), 1e-13);
                }
            }
        }

        /// Two classes z and 0 of a softmax are the sigmoid of z.
        #[test]
        fn a_label_is_a_softmax_over_two_classes((v, z) in matrix_pair(), t in 0.5f64..8.0) {
            let pairs = |logits: &Tensor| {
                let column = logits.reshape([-1, 1]);
                Tensor::cat(&[&column, &column.zeros_like()], 1)
            };
            let temperatures = Tensor::full(z.size()[0], t, (Kind::Double, Device::Cpu));
            for loss in [SoftLoss::CrossEntropy, SoftLoss::KlDivergence] {
                let same = Soft { loss, temperature: Temperature::Same(t), scaling: SoftScaling::TemperatureSquared };
                let expected = value(&crate::soft_loss(&pairs(&v), &pairs(&z), &same, 3));
                close(&[value(&binary_soft_loss(&v, &z, &same, 3))], &[expected], 1e-12);
                let per_row = Soft { temperature: Temperature::PerRow(&temperatures), ..same };
                close(&[value(&binary_soft_loss(&v, &z, &per_row, 3))], &[expected], 1e-12);
            }
        }

        #[test]
        fn a_copy_agrees(z in matrix()) {
            close(&values(&binary_agreement(&z, &z)), &[1.0, 0.0], 1e-14);
        }
    }
}
