//! The cosine loss: the angle between the student's states and the teacher's.

use tch::Tensor;

use crate::assert;
use crate::reduce::{compute_kind, mean};
use crate::unit::unit;

/// Cosine distance of states: Σ_rows (1 − cos(s, t)) / count, between 0 and 2 for each row.
///
/// This is the third loss of DistilBERT (Sanh et al. 2019, section 2), where the rows are the last states of the real
/// tokens, and PyTorch's `CosineEmbeddingLoss` with target 1. For rows that are not 0 it is H/2 times
/// [`normalised_state_mse`](crate::normalised_state_mse).
///
/// Norms below 1e-12 count as 1e-12, so a row of zeros gives 1, as in PyTorch (which adds the same to the squared
/// norms). Its gradient is finite, but of the order of 1e12. The teacher is a constant: no gradient reaches `teacher`.
/// The student's gradient is orthogonal to s, because the length of s does not matter. Rounding may make a value close
/// to 0 slightly negative.
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
/// // The cosines are 3/5 and −1.
/// let teacher = Tensor::from_slice2(&[[3.0, 4.0], [1.0, 2.0]]);
/// let student = Tensor::from_slice2(&[[10.0, 0.0], [-1.0, -2.0]]);
/// let loss = nb_loss::cosine_distance(&teacher, &student, 2);
/// assert!((loss.double_value(&[]) - (0.4 + 2.0) / 2.0).abs() < 1e-12);
/// ```
pub fn cosine_distance(teacher: &Tensor, student: &Tensor, count: i64) -> Tensor {
    assert::same_rows("states", teacher, student);
    assert::count(count);
    let kind = compute_kind(student);
    let products = unit(&student.to_kind(kind)) * unit(&teacher.detach().to_kind(kind)); // [rows, H]
    let distances: Tensor = 1.0 - products.sum_dim_intlist(-1, false, kind); // [rows]
    mean(&distances.sum(kind), count, student)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::{Kind, Reduction};

    use super::*;
    use crate::testing::{close, gradient, matrix_pair, shortest, value, values};

    #[test]
    fn a_row_of_zeros_has_distance_1() {
        let (teacher, student) = (Tensor::from_slice2(&[[3.0, 4.0]]), Tensor::from_slice2(&[[0.0, 0.0]]));
        let loss = |student: &Tensor| cosine_distance(&teacher, student, 1);
        assert_eq!(value(&loss(&student)), 1.0);
        assert!(values(&gradient(loss, &student)).iter().all(|entry| entry.is_finite()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_cosine_embedding_loss_with_target_1((teacher, student) in matrix_pair()) {
            prop_assume!(shortest(&student) > 0.1 && shortest(&teacher) > 0.1); // below that, PyTorch's eps matters
            let target = Tensor::ones(student.size()[0], (Kind::Double, tch::Device::Cpu));
            let sum = Tensor::cosine_embedding_loss(&student, &teacher, &target, 0.0, Reduction::Sum);
            close(&[value(&cosine_distance(&teacher, &student, 7))], &[value(&sum) / 7.0], 1e-9);
        }

        #[test]
        fn is_half_the_squared_distance_of_directions((teacher, student) in matrix_pair()) {
            let hidden = student.size()[1] as f64;
            let expected = hidden / 2.0 * value(&crate::normalised_state_mse(&teacher, &student, 3));
            close(&[value(&cosine_distance(&teacher, &student, 3))], &[expected], 1e-12);
        }
    }
}
