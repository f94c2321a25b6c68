//! The hard loss: cross entropy with the label.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// Marks a row without a label. The value is PyTorch's default.
pub const IGNORE: i64 = -100;

/// Cross entropy with the label, at temperature 1: −Σ_rows log softmax(z)_y / count.
///
/// Rows whose label is [`IGNORE`] are skipped: they add nothing to the sum, get no gradient, and should not be in `count`.
///
/// # Shapes
/// `logits` `[rows, C]`, finite; `labels` `[rows]`, `Int64`, each in `0..C` or [`IGNORE`]. `count` is the number of
/// labelled rows in the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// Other shapes, labels that are not `Int64`, a negative count. libtorch refuses a label outside `0..C`; on a GPU, only
/// at a later call.
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
    assert::count(count);
    mean(&sum(logits, labels, None), count, logits)
}

/// Cross entropy with the label, in which each class has a weight: −Σ_rows w_y log softmax(z)_y / count.
///
/// The divisor is the number of rows, not the sum of their weights as in PyTorch's mean: the terms of micro-batches then sum to
/// that of the batch, and `balanced` weights (rows / (classes · rows of the class), King and Zeng 2001), whose mean over the
/// training rows is 1, leave the scale of the loss unchanged.
///
/// # Shapes
/// As in [`hard_cross_entropy`]; `weights` `[C]`, at least 0.
///
/// # Panics
/// As in [`hard_cross_entropy`], or if there is not one weight for each class.
///
/// ```
/// use tch::Tensor;
///
/// let logits = Tensor::from_slice2(&[[3f64.ln(), 0.0], [0.0, 0.0]]);
/// let (labels, weights) = (Tensor::from_slice(&[1i64, 0]), Tensor::from_slice(&[0.5, 2.0]));
/// let loss = nb_loss::weighted_cross_entropy(&logits, &labels, &weights, 2);
/// let expected = (2.0 * 4f64.ln() + 0.5 * 2f64.ln()) / 2.0;
/// assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// ```
pub fn weighted_cross_entropy(logits: &Tensor, labels: &Tensor, weights: &Tensor, count: i64) -> Tensor {
    assert_eq!(weights.size(), [logits.size()[1]], "one weight for each class");
    assert::count(count);
    mean(&sum(logits, labels, Some(weights)), count, logits)
}

/// Returns the sum over all rows.
fn sum(logits: &Tensor, labels: &Tensor, weights: Option<&Tensor>) -> Tensor {
    assert::one_label_per_row(logits, labels);
    let kind = compute_kind(logits);
    let (smoothing, weights) = (0.0, weights.map(|weights| weights.to_kind(kind)));
    logits.to_kind(kind).cross_entropy_loss(labels, weights, Reduction::Sum, IGNORE, smoothing)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// dL/dz = w_y (softmax(z) − e_y) / count, in each row with a label.
    #[test]
    fn the_gradient_has_the_weight_of_the_label() {
        let z: [[f64; 3]; 3] = [[0.2, -1.0, 0.7], [1.5, 0.3, -0.4], [0.0, 2.0, 1.0]];
        let logits = Tensor::from_slice2(&z).set_requires_grad(true);
        let (labels, weights) = ([2_i64, 0, IGNORE], [0.25, 1.0, 3.0]);
        weighted_cross_entropy(&logits, &Tensor::from_slice(&labels), &Tensor::from_slice(&weights), 5).backward();
        let found = Vec::<Vec<f64>>::try_from(logits.grad()).unwrap();
        for ((row, &label), found) in z.iter().zip(&labels).zip(found) {
            let total: f64 = row.iter().map(|z| z.exp()).sum();
            for (class, (z, found)) in row.iter().zip(found).enumerate() {
                let weight = if label == IGNORE { 0.0 } else { weights[label as usize] };
                let expected = weight * (z.exp() / total - f64::from(class as i64 == label)) / 5.0;
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
    }

    #[test]
    fn equal_weights_change_nothing() {
        let logits = Tensor::randn([7, 4], (Kind::Float, Device::Cpu));
        let labels = Tensor::from_slice(&[0_i64, 1, 2, 3, IGNORE, 1, 1]);
        let ones = Tensor::ones([4], (Kind::Float, Device::Cpu));
        let weighted = weighted_cross_entropy(&logits, &labels, &ones, 6);
        assert!(weighted.allclose(&hard_cross_entropy(&logits, &labels, 6), 1e-6, 1e-6, false));
    }

    #[test]
    #[should_panic(expected = "one weight for each class")]
    fn another_number_of_weights_is_refused() {
        let logits = Tensor::zeros([1, 3], (Kind::Float, Device::Cpu));
        let weights = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let _ = weighted_cross_entropy(&logits, &Tensor::from_slice(&[0_i64]), &weights, 1);
    }
}
