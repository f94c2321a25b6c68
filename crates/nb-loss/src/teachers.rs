//! Several teachers as one: the mean of their logits, plain or weighted by each teacher's loss.

use tch::{Reduction, Tensor};

use crate::reduce::compute_kind;
use crate::{IGNORE, assert, binary};

/// The mean of several teachers' logits: Σ_i v_i / n.
///
/// The result is a constant: no gradient reaches the teachers.
///
/// # Shapes
/// One `[rows, C]` per teacher; the result has the same shape, in `f32` for 16-bit logits.
///
/// # Panics
/// No teacher, shapes that differ or are not two-dimensional.
///
/// ```
/// use tch::Tensor;
///
/// let teachers = [Tensor::from_slice2(&[[1.0, 2.0]]), Tensor::from_slice2(&[[3.0, 6.0]])];
/// assert_eq!(nb_loss::mean_logits(&teachers), Tensor::from_slice2(&[[2.0, 4.0]]));
/// ```
pub fn mean_logits(logits: &[Tensor]) -> Tensor {
    stacked(logits).mean_dim(0, false, None)
}

/// The mean of several teachers' logits, weighted row by row by each teacher's loss: v = Σ_i w_i·v_i with w = softmax over
/// the teachers of −CE(v_i, y).
///
/// The method is from Tiny-NewsRec (Yu et al. 2022, multi-teacher knowledge distillation). exp(−CE) is the probability
/// that teacher i assigns to the label, so w_i is its share of the sum of these probabilities. Rows whose label is
/// [`IGNORE`] take the mean of the teachers, as in [`mean_logits`].
///
/// The result is a constant: no gradient reaches the teachers.
///
/// # Shapes
/// One `[rows, C]` per teacher, finite; `labels` `[rows]`, `Int64`, each in `0..C` or [`IGNORE`]. The result is
/// `[rows, C]`, in `f32` for 16-bit logits.
///
/// # Panics
/// No teacher, shapes that differ or are not two-dimensional, labels of another shape or that are not `Int64`. libtorch
/// refuses a label outside `0..C`; on a GPU, only at a later call.
///
/// ```
/// use tch::Tensor;
///
/// // The teachers give the label 3/4 and 1/4.
/// let teachers = [Tensor::from_slice2(&[[3f64.ln(), 0.0]]), Tensor::from_slice2(&[[0.0, 3f64.ln()]])];
/// let logits = nb_loss::logits_weighted_by_loss(&teachers, &Tensor::from_slice(&[0i64]));
/// assert!((logits.double_value(&[0, 0]) - 0.75 * 3f64.ln()).abs() < 1e-12);
/// assert!((logits.double_value(&[0, 1]) - 0.25 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn logits_weighted_by_loss(logits: &[Tensor], labels: &Tensor) -> Tensor {
    assert::one_label_per_row(assert::teachers(logits), labels);
    let stacked = stacked(logits); // [teachers, rows, C]
    let losses = stacked.transpose(1, 2).cross_entropy_loss(
        &labels.expand([logits.len() as i64, -1], false),
        None::<Tensor>,
        Reduction::None,
        IGNORE,
        0.0, // label smoothing
    ); // [teachers, rows], 0 for all teachers where there is no label: equal weights
    weighted(&stacked, &losses)
}

/// The same for multi-label classification: v = Σ_i w_i·v_i with w = softmax over the teachers of −Σ_c BCE(v_ic, y_c), the
/// logarithm of the probability that teacher i assigns to the row's labels. Rows whose targets are [`IGNORE`] take the mean of
/// the teachers.
///
/// # Shapes
/// As in [`logits_weighted_by_loss`]; `targets` `[rows, C]` as in [`binary_cross_entropy`](crate::binary_cross_entropy).
///
/// # Panics
/// No teacher, shapes that differ, targets that are not floating-point numbers.
///
/// ```
/// use tch::Tensor;
///
/// // The teachers give the label 3/4 and 1/4.
/// let teachers = [Tensor::from_slice2(&[[3f64.ln()]]), Tensor::from_slice2(&[[-3f64.ln()]])];
/// let logits = nb_loss::logits_weighted_by_binary_loss(&teachers, &Tensor::from_slice2(&[[1.0]]));
/// assert!((logits.double_value(&[0, 0]) - 0.5 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn logits_weighted_by_binary_loss(logits: &[Tensor], targets: &Tensor) -> Tensor {
    let stacked = stacked(logits); // [teachers, rows, C]
    let loss = |teacher: i64| {
        let each = binary::each_cross_entropy(&stacked.get(teacher), targets, None);
        each.sum_dim_intlist(-1, false, None)
    };
    let losses: Vec<Tensor> = (0..logits.len() as i64).map(loss).collect();
    weighted(&stacked, &Tensor::stack(&losses, 0))
}

/// Returns the mean of logits `[teachers, rows, C]`, weighted by the softmax of the negative losses `[teachers, rows]`.
fn weighted(logits: &Tensor, losses: &Tensor) -> Tensor {
    let weights = (-losses).softmax(0, None).unsqueeze(-1); // [teachers, rows, 1]
    (logits * weights).sum_dim_intlist(0, false, None)
}

/// Stacks the logits to `[teachers, rows, C]` without a gradient, in the compute kind of the first teacher's logits.
#[track_caller]
fn stacked(logits: &[Tensor]) -> Tensor {
    let kind = compute_kind(assert::teachers(logits));
    Tensor::stack(&logits.iter().map(|logits| logits.detach().to_kind(kind)).collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::hard_cross_entropy;
    use crate::testing::{close, matrix, matrix_pair, panic_of, value, values};

    #[test]
    fn the_result_is_a_constant() {
        let teachers = [1.0, 2.0].map(|entry| Tensor::from_slice2(&[[entry, 0.5]]).set_requires_grad(true));
        assert!(!mean_logits(&teachers).requires_grad());
        assert!(!logits_weighted_by_loss(&teachers, &Tensor::from_slice(&[0i64])).requires_grad());
    }

    #[test]
    fn a_teacher_that_is_certain_and_wrong_has_no_weight() {
        let teachers = [Tensor::from_slice2(&[[1e4f32, -1e4]]), Tensor::from_slice2(&[[0.0f32, 0.5]])];
        assert_eq!(values(&logits_weighted_by_loss(&teachers, &Tensor::from_slice(&[1i64]))), [0.0, 0.5]);
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        // 40000 + 40000 is beyond the largest f16.
        for kind in [Kind::BFloat16, Kind::Half] {
            let teachers = [0.0, 0.0].map(|entry| Tensor::from_slice2(&[[40960.0, entry]]).to_kind(kind));
            for found in [mean_logits(&teachers), logits_weighted_by_loss(&teachers, &Tensor::from_slice(&[0i64]))] {
                assert_eq!((found.kind(), values(&found)), (Kind::Float, vec![40960.0, 0.0]));
            }
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let labels = Tensor::from_slice(&[0i64, 1]);
        let message = panic_of(|| mean_logits(&[]));
        assert_eq!(message, "no teacher logits were given, expected at least one");
        let message = panic_of(|| mean_logits(&[logits(&[2, 3]), logits(&[2, 4])]));
        assert_eq!(message, "the logits of teacher 1 have shape [2, 4], those of teacher 0 [2, 3]");
        let message = panic_of(|| logits_weighted_by_loss(&[logits(&[3, 3])], &labels));
        assert_eq!(message, "labels have shape [2], expected [3] for logits of [3, 3]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_single_teacher_is_unchanged(z in matrix()) {
            let labels = Tensor::zeros(z.size()[0], (Kind::Int64, tch::Device::Cpu));
            prop_assert_eq!(mean_logits(&[z.copy()]), z.copy());
            prop_assert_eq!(logits_weighted_by_loss(&[z.copy()], &labels), z);
        }

        #[test]
        fn each_row_matches_the_formula((a, b) in matrix_pair()) {
            let (n_rows, n_classes) = (a.size()[0], a.size()[1]);
            let teachers = [a.copy(), b.copy(), &a - &b];
            let label = |row: i64| if row == 1 { IGNORE } else { (5 * row + 2) % n_classes };
            let labels = Tensor::from_slice(&(0..n_rows).map(label).collect::<Vec<_>>());
            let found = logits_weighted_by_loss(&teachers, &labels);
            let mean = mean_logits(&teachers);
            close(&values(&mean), &values(&((&a + &b + &teachers[2]) / 3.0)), 1e-14);
            for row in 0..n_rows {
                let row_of = |xs: &Tensor| xs.narrow(0, row, 1);
                let probability = |teacher| (-value(&hard_cross_entropy(&row_of(teacher), &row_of(&labels), 1))).exp();
                let sum: f64 = teachers.iter().map(probability).sum();
                let expected = match label(row) {
                    IGNORE => row_of(&mean),
                    _ => teachers.iter().map(|teacher| row_of(teacher) * (probability(teacher) / sum)).sum(),
                };
                close(&values(&row_of(&found)), &values(&expected), 1e-12);
            }
        }
    }
}
