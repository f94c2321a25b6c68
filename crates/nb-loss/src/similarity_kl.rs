//! The relational loss: KL divergence between the distributions over the other rows that similarities define.

use tch::Tensor;

use crate::assert;
use crate::reduce::{compute_kind, mean, zero};
use crate::similarity::{LEAST_ROWS, similarities};

/// KL divergence of similarities: Σ_i KL(p_i ‖ q_i) / count, where p_i is the softmax over j ≠ i of scale·T_ij, and q_i
/// that of scale·S_ij, with T = t·tᵀ and S = s·sᵀ.
///
/// T_ij is the dot product of the teacher's rows i and j, the cosine if they have length 1. The student learns which
/// rows the teacher finds the most similar to row i. The widths may differ, a rotation of all of the student's vectors
/// changes nothing, and neither does a number that is added to a row's similarities.
///
/// The distributions are those of CompRess (Koohpayegani, Tejankar and Pirsiavash 2020, with an anchor set for each
/// model) and SEED (Fang et al. 2021, where both models compare with the teacher's vectors). There, row i is compared
/// with a queue of earlier vectors, here with the other rows of the same call. `scale` is the inverse of the temperature,
/// the same for both models. There is no factor T².
///
/// The rows of one call are those of one micro-batch. Unlike most losses, this one depends on how a batch is split,
/// because each row is compared with the rest of its micro-batch only.
///
/// The teacher is a constant: no gradient reaches `teacher`. The student's gradient is
/// ∂/∂s_i = Σ_{j≠i} (g_ij + g_ji)·s_j, with g_ij = scale·(q_ij − p_ij) / count.
///
/// # Shapes
/// `teacher` `[rows, H_t]` and `student` `[rows, H_s]`, with finite products. `count` is the number of rows in the whole
/// global batch; 0 gives exactly 0, and so do fewer than two rows. Two rows give 0 too, since each has only one other
/// row, which has probability 1. The result is a scalar.
///
/// # Panics
/// Inputs that are not two-dimensional or differ in their number of rows, a scale that is not a finite number above 0, a
/// negative count.
///
/// ```
/// use tch::Tensor;
///
/// // The teacher's similarities are log 3 between rows 0 and 1, and 0 between the others. The student's are all 0.
/// let teacher = Tensor::from_slice2(&[[3f64.ln(), 0.0], [1.0, 0.0], [0.0, 1.0]]);
/// let student = Tensor::from_slice2(&[[0.0], [0.0], [0.0]]);
/// let loss = nb_loss::similarity_kl(&teacher, &student, 1.0, 3);
/// // Rows 0 and 1 have p = (3/4, 1/4), row 2 has p = (1/2, 1/2), and q = (1/2, 1/2).
/// let divergence = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
/// assert!((loss.double_value(&[]) - 2.0 * divergence / 3.0).abs() < 1e-12);
/// ```
pub fn similarity_kl(teacher: &Tensor, student: &Tensor, scale: f64, count: i64) -> Tensor {
    let n_rows = assert::equally_many_rows("vectors", teacher, student);
    assert::scale(scale);
    assert::count(count);
    let kind = compute_kind(student);
    if n_rows < LEAST_ROWS {
        return zero(student);
    }
    let log_distribution = |xs: &Tensor| (similarities(&xs.to_kind(kind)) * scale).log_softmax(-1, None);
    let log_p = log_distribution(&teacher.detach()); // [rows, rows − 1]
    let log_q = log_distribution(student); // [rows, rows − 1]
    // Log-softmax is finite even where p rounds to 0, so 0·log 0 is 0.
    let terms = log_p.exp() * (log_p - log_q);
    mean(&terms.sum(kind), count, student)
}
