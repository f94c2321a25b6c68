//! The patience loss: mean squared error of states scaled to length 1.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};
use crate::unit::unit;

/// Mean squared error of the directions of states: Σ_rows ‖s/‖s‖ − t/‖t‖‖² / (count × H).
///
/// This is the patience loss of one layer in Patient Knowledge Distillation (Sun et al. 2019, equation 7), where the
/// rows are the `[CLS]` states of that layer. The paper sums over H; the authors' code (`patience_loss` in
/// `src/KD_loss.py`: normalise, then mean squared error) also divides by H, and so does this function. The mean over
/// layers is up to the caller.
///
/// Norms below 1e-12 count as 1e-12 (the eps of PyTorch's `normalize`, which the authors call), so the loss of a row of
/// zeros is finite. Its gradient is finite too, but of the order of 1e12; the output of a LayerNorm is far from 0. The
/// teacher is a constant: no gradient reaches `teacher`. The student's gradient is orthogonal to s, because the length
/// of s does not matter.
///
/// # Shapes
/// Both `[rows, H]`. `count` is the number of rows in the whole global batch; 0 gives exactly 0. The result is a
/// scalar.
///
/// # Panics
/// Shapes that differ or are not two-dimensional, a negative count.
///
/// ```
/// use tch::Tensor;
///
/// // The directions are (3/5, 4/5) and (1, 0).
/// let teacher = Tensor::from_slice2(&[[3.0, 4.0]]);
/// let student = Tensor::from_slice2(&[[10.0, 0.0]]);
/// let loss = nb_loss::normalised_state_mse(&teacher, &student, 1);
/// assert!((loss.double_value(&[]) - (0.4f64.powi(2) + 0.8f64.powi(2)) / 2.0).abs() < 1e-12);
/// ```
pub fn normalised_state_mse(teacher: &Tensor, student: &Tensor, count: i64) -> Tensor {
    let (_, hidden) = assert::same_rows("states", teacher, student);
    assert::count(count);
    let kind = compute_kind(student);
    let sum = unit(&student.to_kind(kind)).mse_loss(&unit(&teacher.detach().to_kind(kind)), Reduction::Sum);
    mean(&sum, count * hidden, student)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::testing::{close, gradient, matrix_pair, value, values};

    #[test]
    fn a_row_of_zeros_has_a_finite_loss() {
        let (teacher, student) = (Tensor::from_slice2(&[[3.0, 4.0]]), Tensor::from_slice2(&[[0.0, 0.0]]));
        for kind in [Kind::Float, Kind::Double] {
            let loss = |student: &Tensor| normalised_state_mse(&teacher.to_kind(kind), student, 1);
            let student = student.to_kind(kind);
            close(&[value(&loss(&student))], &[0.5], 1e-7);
            assert!(values(&gradient(loss, &student)).iter().all(|entry| entry.is_finite()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lengths_do_not_matter((teacher, student) in matrix_pair(), factor in 0.1f64..10.0) {
            let found = normalised_state_mse(&(&teacher * factor), &(&student / factor), 3);
            close(&[value(&found)], &[value(&normalised_state_mse(&teacher, &student, 3))], 1e-12);
        }
    }
}
