//! Agreement of student and teacher, for logging and not for training.

use tch::Tensor;

use crate::reduce::{compute_kind, mean};
use crate::{assert, soft_kl_divergence};

/// The share of rows for which student and teacher predict the same class, and the mean over the rows of KL(p_t‖p_s) at
/// temperature 1.
///
/// Both are means over the given rows, not over a global batch. They are constants: no gradient reaches the logits.
/// They stay on the device, so the host does not wait for it. If several logits are equally large, libtorch chooses the
/// predicted class.
///
/// # Shapes
/// Both logits `[rows, C]`, finite; the result `[2]`, in `f32` for 16-bit logits. Without rows both numbers are 0.
///
/// # Panics
/// Shapes that differ or are not two-dimensional.
///
/// ```
/// use tch::Tensor;
///
/// let teacher = Tensor::from_slice2(&[[3f64.ln(), 0.0], [0.0, 7.0]]);
/// let student = Tensor::from_slice2(&[[0.0, 3f64.ln()], [0.0, 7.0]]);
/// let agreement = nb_loss::agreement(&teacher, &student);
/// assert_eq!(agreement.double_value(&[0]), 0.5);
/// // KL of (3/4, 1/4) and (1/4, 3/4) is ½·log 3; that of equal rows is 0.
/// assert!((agreement.double_value(&[1]) - 0.25 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn agreement(teacher_logits: &Tensor, student_logits: &Tensor) -> Tensor {
    let (n_rows, _) = assert::same_rows("logits", teacher_logits, student_logits);
    let (teacher, student) = (teacher_logits.detach(), student_logits.detach());
    let equal = teacher.argmax(-1, false).eq_tensor(&student.argmax(-1, false)); // [rows]
    let share = mean(&equal.sum(compute_kind(&student)), n_rows, &student);
    Tensor::stack(&[share, soft_kl_divergence(&teacher, &student, 1.0, n_rows)], 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::testing::{close, matrix, matrix_pair, panic_of, value, values};

    #[test]
    fn the_result_is_a_constant() {
        let logits = Tensor::from_slice2(&[[0.3, -0.2]]).set_requires_grad(true);
        assert!(!agreement(&logits, &logits).requires_grad());
    }

    #[test]
    fn agreement_is_0_without_rows() {
        let none = Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu));
        assert_eq!(values(&agreement(&none, &none)), [0.0, 0.0]);
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        for kind in [Kind::BFloat16, Kind::Half] {
            // 3 of 300 rows agree, a share of 0.01, which bf16 cannot represent.
            let teacher = Tensor::from_slice2(&[[0.0, 1.0]]).repeat([300, 1]).to_kind(kind);
            let student = Tensor::cat(&[teacher.narrow(0, 0, 3), teacher.narrow(0, 3, 297).flip([1])], 0);
            let found = agreement(&teacher, &student);
            assert_eq!((found.kind(), found.double_value(&[0])), (Kind::Float, f64::from(0.01f32)));
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| agreement(&logits(&[2, 3]), &logits(&[2, 4])));
        assert_eq!(message, "the teacher's logits have shape [2, 3] and the student's [2, 4], expected the same");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_copy_agrees(z in matrix()) {
            close(&values(&agreement(&z, &z)), &[1.0, 0.0], 1e-15);
        }

        #[test]
        fn matches_the_formula((v, z) in matrix_pair()) {
            let n_rows = z.size()[0];
            let largest = |row: Vec<f64>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            let equal = (0..n_rows).filter(|&row| largest(values(&v.get(row))) == largest(values(&z.get(row)))).count();
            let divergence = value(&soft_kl_divergence(&v, &z, 1.0, n_rows));
            close(&values(&agreement(&v, &z)), &[equal as f64 / n_rows as f64, divergence], 1e-15);
        }
    }
}
