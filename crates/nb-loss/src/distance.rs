//! The distance loss: squared distances of the student's vectors from the teacher's.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// Squared distance of vectors: Σ_rows ‖t − s‖² / count.
///
/// EmbedDistill (Kim et al. 2023, embedding matching) and LEAF (Vujanic and Rueckstiess 2025) minimise the distance
/// between the embeddings of teacher and student, so that the student's vectors can be compared with the teacher's. This
/// is the square of that distance, and its gradient becomes 0 as the vectors become equal.
///
/// Unlike [`state_mse`](crate::state_mse), it does not divide by H. For vectors of length 1, a row adds
/// 2·(1 − cos(s, t)), whatever their width. The function does not scale them to length 1.
///
/// The teacher is a constant: no gradient reaches `teacher`. The student's gradient is 2(s − t) / count.
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
/// // The cosines are 3/5 and −1.
/// let teacher = Tensor::from_slice2(&[[0.6, 0.8], [0.0, 1.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 0.0], [0.0, -1.0]]);
/// let loss = nb_loss::squared_distance(&teacher, &student, 2);
/// assert!((loss.double_value(&[]) - 2.0 * (0.4 + 2.0) / 2.0).abs() < 1e-12);
/// ```
pub fn squared_distance(teacher: &Tensor, student: &Tensor, count: i64) -> Tensor {
    assert::same_rows("vectors", teacher, student);
    assert::count(count);
    let kind = compute_kind(student);
    let sum = student.to_kind(kind).mse_loss(&teacher.detach().to_kind(kind), Reduction::Sum);
    mean(&sum, count, student)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{close, matrix_pair, shortest, value};
    use crate::unit::unit;
    use crate::{cosine_distance, state_mse};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_twice_the_cosine_distance_of_unit_vectors((teacher, student) in matrix_pair()) {
            prop_assume!(shortest(&student) > 0.1 && shortest(&teacher) > 0.1);
            let found = squared_distance(&unit(&teacher), &unit(&student), 3);
            close(&[value(&found)], &[2.0 * value(&cosine_distance(&teacher, &student, 3))], 1e-12);
        }

        #[test]
        fn is_the_width_times_the_mse((teacher, student) in matrix_pair()) {
            let expected = student.size()[1] as f64 * value(&state_mse(&teacher, &student, 3));
            close(&[value(&squared_distance(&teacher, &student, 3))], &[expected], 1e-12);
        }
    }
}
