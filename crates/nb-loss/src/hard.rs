//! The hard loss: cross entropy with the label.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// The label of a row that has none (PyTorch's default as well).
pub const IGNORE: i64 = -100;

/// Cross entropy with the label, at temperature 1: −Σ_rows log softmax(z)_y / count.
///
/// Rows whose label is [`IGNORE`] take no part: they add nothing to the sum, get no gradient, and should not be in
/// `count` either.
///
/// # Shapes
/// `logits` `[rows, C]`, finite; `labels` `[rows]`, `Int64`, each in `0..C` or [`IGNORE`]. `count` is the number of
/// labelled rows in the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// Other shapes, labels that are not `Int64`, a negative count. A label outside `0..C` is refused by libtorch, on a GPU
/// only later.
///
/// ```
/// use tch::Tensor;
///
/// let logits = Tensor::from_slice2(&[[3f64.ln(), 0.0], [7.0, 9.0]]);
/// let labels = Tensor::from_slice(&[1i64, nb_loss::IGNORE]);
/// let loss = nb_loss::hard_cross_entropy(&logits, &labels, 1);
/// assert!((loss.double_value(&[]) - 4f64.ln()).abs() < 1e-12); // probability 1/4
/// ```
pub fn hard_cross_entropy(logits: &Tensor, labels: &Tensor, count: i64) -> Tensor {
    assert::one_label_per_row(logits, labels);
    assert::count(count);
    let sum = logits.to_kind(compute_kind(logits)).cross_entropy_loss(
        labels,
        None::<Tensor>,
        Reduction::Sum,
        IGNORE,
        0.0, // label smoothing
    );
    mean(&sum, count, logits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::numeric::{close, finite_differences, gradient, matrix, panic_of, value, values};

    /// One label for each row, every third row without.
    fn labels_for(logits: &Tensor) -> Tensor {
        let (n_rows, n_classes) = (logits.size()[0], logits.size()[1]);
        let labels: Vec<i64> =
            (0..n_rows).map(|row| if row % 3 == 1 { IGNORE } else { (5 * row + 2) % n_classes }).collect();
        Tensor::from_slice(&labels)
    }

    #[test]
    fn rows_without_a_label_take_no_part() {
        let logits = Tensor::from_slice2(&[[0.5, -0.5], [3.0, 4.0], [1.0, 2.0]]);
        let labels = Tensor::from_slice(&[0i64, IGNORE, 1]);
        let labelled = Tensor::from_slice(&[0i64, 2]);
        let loss = |logits: &Tensor| hard_cross_entropy(logits, &labels, 2);
        let expected = hard_cross_entropy(&logits.index_select(0, &labelled), &labels.index_select(0, &labelled), 2);
        close(&[value(&loss(&logits))], &[value(&expected)], 1e-15);
        assert_eq!(values(&gradient(loss, &logits).get(1)), [0.0, 0.0]);
    }

    #[test]
    fn a_batch_without_labels_is_0_with_a_zero_gradient() {
        let logits = Tensor::from_slice2(&[[0.5, -0.5]]);
        for count in [0, 3] {
            let loss = |logits: &Tensor| hard_cross_entropy(logits, &Tensor::from_slice(&[IGNORE]), count);
            assert_eq!((value(&loss(&logits)), values(&gradient(loss, &logits))), (0.0, vec![0.0, 0.0]));
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let logits = Tensor::from_slice2(&[[1e4f32, -1e4], [-1e4, 1e4]]);
        let loss = |logits: &Tensor| hard_cross_entropy(logits, &Tensor::from_slice(&[0i64, 0]), 2);
        assert_eq!(value(&loss(&logits)), 1e4);
        assert_eq!(values(&gradient(loss, &logits)), [0.0, 0.0, -0.5, 0.5]);
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        let logits = Tensor::from_slice2(&[[0.3, -1.7]]).to_kind(Kind::Half);
        let labels = Tensor::from_slice(&[1i64]);
        let found = hard_cross_entropy(&logits, &labels, 1);
        let expected = hard_cross_entropy(&logits.to_kind(Kind::Float), &labels, 1);
        assert_eq!((found.kind(), value(&found)), (Kind::Float, value(&expected)));
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| hard_cross_entropy(&logits, &Tensor::from_slice(&[0i64]), 2));
        assert_eq!(message, "labels have shape [1], expected [2] for logits of [2, 3]");
        let message = panic_of(|| hard_cross_entropy(&logits, &Tensor::from_slice(&[0i32, 1]), 2));
        assert_eq!(message, "labels are Int, expected Int64");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_formula(logits in matrix()) {
            let labels = labels_for(&logits);
            let mut expected = 0.0;
            for (row, label) in Vec::<i64>::try_from(&labels).unwrap().into_iter().enumerate() {
                let row = values(&logits.get(row as i64));
                if let Ok(label) = usize::try_from(label) {
                    expected -= (row[label].exp() / row.iter().map(|z| z.exp()).sum::<f64>()).ln();
                }
            }
            close(&[value(&hard_cross_entropy(&logits, &labels, 7))], &[expected / 7.0], 1e-12);
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences(logits in matrix()) {
            let labels = labels_for(&logits);
            let loss = |logits: &Tensor| hard_cross_entropy(logits, &labels, 3);
            close(&values(&gradient(loss, &logits)), &finite_differences(loss, &logits), 1e-8);
        }

        #[test]
        fn micro_batches_sum_to_the_batch(logits in matrix()) {
            let (labels, n_rows) = (labels_for(&logits), logits.size()[0]);
            let whole = value(&hard_cross_entropy(&logits, &labels, n_rows));
            let parts: f64 = (0..n_rows)
                .map(|row| value(&hard_cross_entropy(&logits.narrow(0, row, 1), &labels.narrow(0, row, 1), n_rows)))
                .sum();
            prop_assert!((whole - parts).abs() < 1e-12);
        }
    }
}
