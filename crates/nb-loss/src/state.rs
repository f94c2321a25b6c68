//! The hidden-state loss: mean squared error between the student's states and the teacher's.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// Mean squared error of hidden states: Σ_rows Σ_h (t − s)² / (count × H).
///
/// A row is a real token (the output of the embeddings or of a layer, packed without padding) or a sequence (its pooled
/// vector). The teacher is a constant: no gradient reaches `teacher`. The student's gradient is 2(s − t) / (count × H).
///
/// # Shapes
/// Both `[rows, H]`. `count` is the number of rows in the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// Shapes that differ or are not two-dimensional, a negative count.
///
/// ```
/// use tch::Tensor;
///
/// let teacher = Tensor::from_slice2(&[[1.0, 2.0], [3.0, 4.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 0.0], [3.0, 3.0]]);
/// let loss = nb_loss::state_mse(&teacher, &student, 2);
/// assert_eq!(loss.double_value(&[]), (4.0 + 1.0) / 4.0);
/// ```
pub fn state_mse(teacher: &Tensor, student: &Tensor, count: i64) -> Tensor {
    let (_, hidden) = assert::same_rows("states", teacher, student);
    assert::count(count);
    let kind = compute_kind(student);
    let sum = student.to_kind(kind).mse_loss(&teacher.detach().to_kind(kind), Reduction::Sum);
    mean(&sum, count * hidden, student)
}
