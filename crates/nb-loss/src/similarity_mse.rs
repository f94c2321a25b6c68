//! The similarity loss: mean squared error between the similarities of the student's vectors and the teacher's.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean, zero};
use crate::similarity::{LEAST_ROWS, similarities};

/// Mean squared error of similarities: Σ_{i≠j} (T_ij − S_ij)² / pairs, with T = t·tᵀ and S = s·sᵀ.
///
/// T_ij is the dot product of the teacher's rows i and j, the cosine if they have length 1. The student learns how
/// similar the teacher finds two rows, not the teacher's coordinates. The widths may therefore differ, and a rotation of
/// all of the student's vectors changes nothing.
///
/// The idea is that of similarity-preserving distillation (Tung and Mori 2019). There, each row of T
/// and S is scaled to length 1, the diagonal counts, and the sum is divided by the square of the number of rows. Here
/// the products stay as they are, so a pair's error does not depend on the other rows, and a row is not compared with
/// itself.
///
/// A row is compared with the other rows of the same call, which are those of one micro-batch. Unlike most losses, this one
/// depends on how a batch is split: pairs across micro-batches are not compared and not counted.
///
/// The teacher is a constant: no gradient reaches `teacher`. The student's gradient is
/// ∂/∂s_i = 4·Σ_{j≠i} (S_ij − T_ij)·s_j / pairs.
///
/// # Shapes
/// `teacher` `[rows, H_t]` and `student` `[rows, H_s]`. `pairs` is the number of ordered pairs of different rows that are
/// compared in the whole global batch: the sum of B·(B − 1) over the micro-batches, B being the number of rows. 0 gives
/// exactly 0, and so do fewer than two rows. The result is a scalar.
///
/// # Panics
/// Inputs that are not two-dimensional or differ in their number of rows, a negative number of pairs.
///
/// ```
/// use tch::Tensor;
///
/// // The only similarity is 3/5 for the teacher and 0 for the student. Both orders of the rows count.
/// let teacher = Tensor::from_slice2(&[[0.6, 0.8, 0.0], [1.0, 0.0, 0.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 0.0], [0.0, 1.0]]);
/// let loss = nb_loss::similarity_mse(&teacher, &student, 2);
/// assert!((loss.double_value(&[]) - 2.0 * 0.36 / 2.0).abs() < 1e-12);
/// ```
pub fn similarity_mse(teacher: &Tensor, student: &Tensor, pairs: i64) -> Tensor {
    let n_rows = assert::equally_many_rows("vectors", teacher, student);
    assert::count(pairs);
    let kind = compute_kind(student);
    if n_rows < LEAST_ROWS {
        return zero(student);
    }
    let of_teacher = similarities(&teacher.detach().to_kind(kind)); // [rows, rows − 1]
    let sum = similarities(&student.to_kind(kind)).mse_loss(&of_teacher, Reduction::Sum);
    mean(&sum, pairs, student)
}
