//! The attention loss: mean squared error of the student's attention scores to the teacher's.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// Mean squared error of attention scores: Σ (s − t)² / pairs.
///
/// The attention loss of one layer in TinyBERT (Jiao et al. 2020, equation 7), taken like there on the scores before
/// the softmax. A score belongs to a head and a pair of query and key. Where padding stands both sides must hold 0,
/// which then adds nothing and gets no gradient; `pairs` counts the others. The authors' code puts 0 there as well, but
/// divides by all pairs: its loss shrinks as padding grows.
///
/// The teacher is a constant: no gradient reaches `teacher`; the student's is 2(s − t) / pairs.
///
/// # Shapes
/// Both `[scores]`: of all heads, queries and keys in any order, the same in both. `pairs` is the number of real (head,
/// query, key) triples in the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// Shapes that differ or are not one-dimensional, a negative number of pairs.
///
/// ```
/// use tch::Tensor;
///
/// let teacher = Tensor::from_slice(&[1.0, 2.0, 0.0]); // the last is padding
/// let student = Tensor::from_slice(&[1.0, 5.0, 0.0]);
/// let loss = nb_loss::score_mse(&teacher, &student, 2);
/// assert_eq!(loss.double_value(&[]), 9.0 / 2.0);
/// ```
pub fn score_mse(teacher: &Tensor, student: &Tensor, pairs: i64) -> Tensor {
    assert::same_scores(teacher, student);
    assert::count(pairs);
    let kind = compute_kind(student);
    let sum = student.to_kind(kind).mse_loss(&teacher.detach().to_kind(kind), Reduction::Sum);
    mean(&sum, pairs, student)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::numeric::{close, finite_differences, gradient, matrix_pair, panic_of, value, values};

    #[test]
    fn the_teacher_gets_no_gradient() {
        let teacher = Tensor::from_slice(&[0.3, -0.2, 0.0]).set_requires_grad(true);
        let student = Tensor::from_slice(&[0.1, 0.4, 0.0]).set_requires_grad(true);
        score_mse(&teacher, &student, 2).backward();
        assert!(!teacher.grad().defined());
        close(&values(&student.grad()), &[-0.2, 0.6, 0.0], 1e-15);
    }

    #[test]
    fn a_batch_without_pairs_is_0_with_a_zero_gradient() {
        let scores = Tensor::from_slice(&[1.0, f64::NAN]);
        let loss = |student: &Tensor| score_mse(&scores, student, 0);
        assert_eq!((value(&loss(&scores)), values(&gradient(loss, &scores))), (0.0, vec![0.0, 0.0]));
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        // 2 · (256 − 1)² is beyond the largest f16, and bf16 has no 255² = 65025.
        for kind in [Kind::BFloat16, Kind::Half] {
            let (teacher, student) = (Tensor::from_slice(&[256.0, 256.0]), Tensor::from_slice(&[1.0, 1.0]));
            let found = score_mse(&teacher.to_kind(kind), &student.to_kind(kind), 2);
            assert_eq!((found.kind(), value(&found)), (Kind::Float, 65025.0));
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let scores = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| score_mse(&scores(&[5]), &scores(&[6]), 2));
        assert_eq!(message, "the teacher's scores have shape [5] and the student's [6], expected the same");
        let message = panic_of(|| score_mse(&scores(&[2, 5]), &scores(&[2, 5]), 2));
        assert_eq!(message, "scores have shape [2, 5], expected one dimension");
        let message = panic_of(|| score_mse(&scores(&[5]), &scores(&[5]), -1));
        assert_eq!(message, "the count of a mean is -1, expected at least 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_the_formula((teacher, student) in matrix_pair()) {
            let squares = values(&teacher).iter().zip(values(&student)).map(|(t, s)| (t - s).powi(2)).sum::<f64>();
            let found = score_mse(&teacher.flatten(0, -1), &student.flatten(0, -1), 11);
            close(&[value(&found)], &[squares / 11.0], 1e-12);
        }

        #[test]
        fn padding_changes_nothing((teacher, student) in matrix_pair()) {
            let (teacher, student) = (teacher.flatten(0, -1), student.flatten(0, -1));
            let padded = |xs: &Tensor| xs.constant_pad_nd([0, 3]);
            close(
                &[value(&score_mse(&padded(&teacher), &padded(&student), 5))],
                &[value(&score_mse(&teacher, &student, 5))],
                1e-12,
            );
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences((teacher, student) in matrix_pair()) {
            let (teacher, student) = (teacher.flatten(0, -1), student.flatten(0, -1));
            let loss = |student: &Tensor| score_mse(&teacher, student, 3);
            close(&values(&gradient(loss, &student)), &finite_differences(loss, &student), 1e-8);
        }

        #[test]
        fn micro_batches_sum_to_the_batch((teacher, student) in matrix_pair()) {
            let (teacher, student) = (teacher.flatten(0, -1), student.flatten(0, -1));
            let n_scores = student.size()[0];
            let of = |first, n| value(&score_mse(&teacher.narrow(0, first, n), &student.narrow(0, first, n), n_scores));
            close(&[(0..n_scores).map(|score| of(score, 1)).sum()], &[of(0, n_scores)], 1e-12);
        }
    }
}
