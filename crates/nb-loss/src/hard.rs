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
