//! The patience loss: mean squared error of states that were scaled to length 1.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};
use crate::unit::unit;

/// Mean squared error of the directions of states: Σ_rows ‖s/‖s‖ − t/‖t‖‖² / (count × H).
///
/// The patience loss of one layer in Patient Knowledge Distillation (Sun et al. 2019, equation 7), whose rows are the
/// `[CLS]` states of that layer. The paper sums over H where the authors' code (`patience_loss` in `src/KD_loss.py`:
/// normalise, then mean squared error) divides by it too; here as in the code, whose mean over layers is left to the
/// caller.
///
/// Norms below 1e-12 count as 1e-12 (the eps of PyTorch's `normalize`, which the authors call), so that a row of zeros
/// gives a number, with a finite gradient, though one of the order of 1e12. States that leave a LayerNorm are far from
/// it. The teacher is a constant: no gradient reaches `teacher`; the student's is at right angles to s, for its length
/// does not matter.
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
    use crate::numeric::{close, finite_differences, gradient, matrix_pair, panic_of, shortest, value, values};

    #[test]
    fn the_teacher_gets_no_gradient() {
        let teacher = Tensor::from_slice2(&[[3.0, 4.0]]).set_requires_grad(true);
        let student = Tensor::from_slice2(&[[10.0, 0.0]]).set_requires_grad(true);
        normalised_state_mse(&teacher, &student, 1).backward();
        assert!(!teacher.grad().defined());
        // ½‖u − û_t‖² has the gradient u − û_t = (0.4, −0.8), of which (0, −0.8) is at right angles to s, over ‖s‖ =
        // 10.
        close(&values(&student.grad()), &[0.0, -0.08], 1e-15);
    }

    #[test]
    fn a_batch_without_rows_is_0_with_a_zero_gradient() {
        let states = Tensor::from_slice2(&[[1.0, f64::NAN]]);
        let loss = |student: &Tensor| normalised_state_mse(&states, student, 0);
        assert_eq!((value(&loss(&states)), values(&gradient(loss, &states))), (0.0, vec![0.0, 0.0]));
    }

    #[test]
    fn a_row_of_zeros_gives_a_number() {
        let (teacher, student) = (Tensor::from_slice2(&[[3.0, 4.0]]), Tensor::from_slice2(&[[0.0, 0.0]]));
        for kind in [Kind::Float, Kind::Double] {
            let loss = |student: &Tensor| normalised_state_mse(&teacher.to_kind(kind), student, 1);
            let student = student.to_kind(kind);
            close(&[value(&loss(&student))], &[0.5], 1e-7);
            assert!(values(&gradient(loss, &student)).iter().all(|entry| entry.is_finite()));
        }
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        // The squares of 300 are beyond the largest f16.
        let (teacher, student) = (Tensor::from_slice2(&[[300.0, 400.0]]), Tensor::from_slice2(&[[300.0, 0.0]]));
        for kind in [Kind::BFloat16, Kind::Half] {
            let found = normalised_state_mse(&teacher.to_kind(kind), &student.to_kind(kind), 1);
            assert_eq!(found.kind(), Kind::Float);
            close(&[value(&found)], &[0.4], 1e-6);
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let states = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| normalised_state_mse(&states(&[5, 4]), &states(&[6, 4]), 2));
        assert_eq!(message, "the teacher's states have shape [5, 4] and the student's [6, 4], expected the same");
        let message = panic_of(|| normalised_state_mse(&states(&[5, 4]), &states(&[5, 4]), -2));
        assert_eq!(message, "the count of a mean is -2, expected at least 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_state_mse_of_unit_vectors((teacher, student) in matrix_pair()) {
            let scaled = |xs: &Tensor| xs / xs.square().sum_dim_intlist(-1, true, None).sqrt();
            let expected = crate::state_mse(&scaled(&teacher), &scaled(&student), 11);
            close(&[value(&normalised_state_mse(&teacher, &student, 11))], &[value(&expected)], 1e-12);
        }

        #[test]
        fn lengths_do_not_matter((teacher, student) in matrix_pair(), longer in 0.1f64..10.0) {
            let found = normalised_state_mse(&(&teacher * longer), &(&student / longer), 3);
            close(&[value(&found)], &[value(&normalised_state_mse(&teacher, &student, 3))], 1e-12);
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences((teacher, student) in matrix_pair()) {
            prop_assume!(shortest(&student) > 0.5); // a direction turns fast near 0
            let loss = |student: &Tensor| normalised_state_mse(&teacher, student, 3);
            close(&values(&gradient(loss, &student)), &finite_differences(loss, &student), 1e-8);
        }

        #[test]
        fn micro_batches_sum_to_the_batch((teacher, student) in matrix_pair()) {
            let n_rows = student.size()[0];
            let of = |first, rows| {
                value(&normalised_state_mse(&teacher.narrow(0, first, rows), &student.narrow(0, first, rows), n_rows))
            };
            close(&[(0..n_rows).map(|row| of(row, 1)).sum()], &[of(0, n_rows)], 1e-12);
        }
    }
}
