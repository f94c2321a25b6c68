//! The hidden-state loss: mean squared error of the student's states to the teacher's.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// Mean squared error of hidden states: Σ_rows Σ_h (t − s)² / (count × H).
///
/// A row is whatever has a state: a real token (embedding output or the output of a layer, packed so that padding is
/// not among the rows) or a sequence (its pooled vector). The teacher is a constant: no gradient reaches `teacher`; the
/// student's is 2(s − t) / (count × H).
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::numeric::{close, finite_differences, gradient, matrix_pair, panic_of, value, values};

    #[test]
    fn the_teacher_gets_no_gradient() {
        let teacher = Tensor::from_slice2(&[[0.3, -0.2]]).set_requires_grad(true);
        let student = Tensor::from_slice2(&[[0.1, 0.4]]).set_requires_grad(true);
        state_mse(&teacher, &student, 1).backward();
        assert!(!teacher.grad().defined());
        close(&values(&student.grad()), &[-0.2, 0.6], 1e-15);
    }

    #[test]
    fn a_batch_without_rows_is_0_with_a_zero_gradient() {
        let states = Tensor::from_slice2(&[[1.0, f64::NAN]]);
        let loss = |student: &Tensor| state_mse(&states, student, 0);
        assert_eq!((value(&loss(&states)), values(&gradient(loss, &states))), (0.0, vec![0.0, 0.0]));
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        // 2 · (256 − 1)² is beyond the largest f16, and bf16 has no 255² = 65025.
        for kind in [Kind::BFloat16, Kind::Half] {
            let (teacher, student) = (Tensor::from_slice2(&[[256.0, 256.0]]), Tensor::from_slice2(&[[1.0, 1.0]]));
            let found = state_mse(&teacher.to_kind(kind), &student.to_kind(kind), 1);
            assert_eq!((found.kind(), value(&found)), (Kind::Float, 65025.0));
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let states = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| state_mse(&states(&[5, 4]), &states(&[6, 4]), 2));
        assert_eq!(message, "the teacher's states have shape [5, 4] and the student's [6, 4], expected the same");
        let message = panic_of(|| state_mse(&states(&[2, 5, 4]), &states(&[2, 5, 4]), 2));
        assert_eq!(message, "states has shape [2, 5, 4], expected two dimensions");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_formula((teacher, student) in matrix_pair()) {
            let squares = values(&teacher).iter().zip(values(&student)).map(|(t, s)| (t - s).powi(2)).sum::<f64>();
            let expected = squares / (11.0 * student.size()[1] as f64);
            close(&[value(&state_mse(&teacher, &student, 11))], &[expected], 1e-12);
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences((teacher, student) in matrix_pair()) {
            let loss = |student: &Tensor| state_mse(&teacher, student, 3);
            close(&values(&gradient(loss, &student)), &finite_differences(loss, &student), 1e-8);
        }

        #[test]
        fn micro_batches_sum_to_the_batch((teacher, student) in matrix_pair()) {
            let n_rows = student.size()[0];
            let whole = value(&state_mse(&teacher, &student, n_rows));
            let parts: f64 =
                (0..n_rows).map(|row| value(&state_mse(&teacher.narrow(0, row, 1), &student.narrow(0, row, 1), n_rows))).sum();
            prop_assert!((whole - parts).abs() < 1e-12);
        }
    }
}
