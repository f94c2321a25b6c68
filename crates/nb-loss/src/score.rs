//! The attention loss: mean squared error between the student's attention scores and the teacher's.

use tch::{Reduction, Tensor};

use crate::assert;
use crate::reduce::{compute_kind, mean};

/// Mean squared error of attention scores: Σ (s − t)² / pairs.
///
/// This is the attention loss of one layer in TinyBERT (Jiao et al. 2020, equation 7), on the scores before the
/// softmax, as in the paper. A score belongs to a head and a pair of query and key. Padding must be 0 on both sides; it
/// then adds nothing and gets no gradient, and `pairs` counts the other scores. The authors' code also sets padding to
/// 0 but divides by all pairs, so its loss shrinks as padding grows.
///
/// The teacher is a constant: no gradient reaches `teacher`. The student's gradient is 2(s − t) / pairs.
///
/// # Shapes
/// Both `[scores]`: the scores of all heads, queries and keys, in any order that is the same in both. `pairs` is the
/// number of real (head, query, key) triples in the whole global batch; 0 gives exactly 0. The result is a scalar.
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
