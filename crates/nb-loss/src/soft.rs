//! The soft loss in all its forms: cross entropy or KL divergence, one temperature or one for each row, with or without
//! T².

use tch::Tensor;

use crate::reduce::{compute_kind, mean};
use crate::{assert, softmax};

/// The distance of the student's softened prediction q from the teacher's p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SoftLoss {
    /// −Σ_j p_j log q_j.
    #[default]
    CrossEntropy,
    /// Σ_j p_j (log p_j − log q_j): the cross entropy minus the entropy of p. The gradient is the same, and the loss is
    /// 0 if the predictions are equal.
    KlDivergence,
}

/// The divisor of logits before the softmax.
#[derive(Debug, Clone, Copy)]
pub enum Temperature<'a> {
    /// The same T for all rows.
    Same(f64),
    /// A T for each row, `[rows]`, used as a constant. Each must be a finite number above 0. This is not checked, since
    /// reading the values would mean waiting for the device.
    PerRow(&'a Tensor),
}

/// The factor of the soft loss in the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SoftScaling {
    /// 1. The gradient shrinks as 1/T².
    #[default]
    Plain,
    /// T², so that the gradient keeps its size when the temperature changes (Hinton, Vinyals and Dean 2015, section 2).
    TemperatureSquared,
}

/// The settings of [`soft_loss`].
#[derive(Debug, Clone, Copy)]
pub struct Soft<'a> {
    /// Cross entropy or KL divergence.
    pub loss: SoftLoss,
    /// T, the same for all rows or one for each.
    pub temperature: Temperature<'a>,
    /// The factor of each row's loss: 1 or its T².
    pub scaling: SoftScaling,
}

/// The soft loss: Σ_r w_r·D_r / count, where D_r is the cross entropy or the KL divergence of row r at its temperature
/// T_r, and w_r = 1 or T_r².
///
/// p = softmax(v/T) from the teacher's logits v, q = softmax(z/T) from the student's logits z (Hinton, Vinyals and Dean
/// 2015, section 2). A temperature for each row comes from [`flsw_temperatures`](crate::flsw_temperatures),
/// [`cwsm_temperatures`](crate::cwsm_temperatures) or the caller. [`soft_cross_entropy`](crate::soft_cross_entropy) and
/// [`soft_kl_divergence`](crate::soft_kl_divergence) are this with one temperature and without T².
///
/// Teacher and temperatures are constants: no gradient reaches `teacher_logits` or the temperatures, even if they
/// were computed from the student's logits. The student's gradient is ∂/∂z_r = w_r·(q_r − p_r) / (T_r·count) for either loss.
///
/// # Shapes
/// Both logits `[rows, C]`, finite; temperatures per row `[rows]`, on the same device. `count` is the number of rows in
/// the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// Shapes that differ or are not two-dimensional; a number of temperatures that is not the number of rows, or
/// temperatures that are not floating-point numbers; a single temperature that is not a finite number above 0; a
/// negative count.
///
/// ```
/// use nb_loss::{Soft, SoftLoss, SoftScaling, Temperature, soft_loss};
/// use tch::Tensor;
///
/// // At temperatures 1 and 2 both rows have p = (3/4, 1/4) and q = (1/2, 1/2), with a cross entropy of log 2.
/// let teacher = Tensor::from_slice2(&[[3f64.ln(), 0.0], [2.0 * 3f64.ln(), 0.0]]);
/// let student = Tensor::from_slice2(&[[1.0, 1.0], [5.0, 5.0]]);
/// let temperatures = Tensor::from_slice(&[1.0, 2.0]);
/// let soft = Soft {
///     loss: SoftLoss::CrossEntropy,
///     temperature: Temperature::PerRow(&temperatures),
///     scaling: SoftScaling::TemperatureSquared,
/// };
/// let loss = soft_loss(&teacher, &student, &soft, 2);
/// assert!((loss.double_value(&[]) - (1.0 + 4.0) * 2f64.ln() / 2.0).abs() < 1e-12);
/// ```
pub fn soft_loss(teacher_logits: &Tensor, student_logits: &Tensor, soft: &Soft, count: i64) -> Tensor {
    soft.check(teacher_logits, student_logits, count);
    let kind = compute_kind(student_logits);
    let teacher = soft.temperature.divide(&teacher_logits.detach());
    let p = teacher.softmax(-1, None).to_kind(kind); // [rows, C]
    let log_q = soft.temperature.divide(student_logits).log_softmax(-1, None); // [rows, C]
    let terms = match soft.loss {
        SoftLoss::CrossEntropy => -(p * log_q),
        // Log-softmax is finite even where p rounds to 0, so 0·log 0 is 0.
        SoftLoss::KlDivergence => p * (teacher.log_softmax(-1, None).to_kind(kind) - log_q),
    }; // [rows, C]
    mean(&weighted_sum(&terms, soft, student_logits), count, student_logits)
}

/// Returns the sum of terms `[rows, C]` of which each row has the factor of its scaling.
pub(crate) fn weighted_sum(terms: &Tensor, soft: &Soft, student_logits: &Tensor) -> Tensor {
    let kind = compute_kind(student_logits);
    match (soft.scaling, soft.temperature) {
        (SoftScaling::Plain, _) => terms.sum(kind),
        (SoftScaling::TemperatureSquared, Temperature::Same(t)) => terms.sum(kind) * (t * t),
        (SoftScaling::TemperatureSquared, Temperature::PerRow(ts)) => {
            (terms * column(ts, student_logits).square()).sum(kind)
        }
    }
}

impl Default for Soft<'_> {
    /// The cross entropy at temperature 1.
    fn default() -> Self {
        Self { loss: SoftLoss::CrossEntropy, temperature: Temperature::Same(1.0), scaling: SoftScaling::Plain }
    }
}

impl Soft<'_> {
    /// Checks the arguments of a soft loss.
    #[track_caller]
    pub(crate) fn check(&self, teacher_logits: &Tensor, student_logits: &Tensor, count: i64) {
        assert::same_rows("logits", teacher_logits, student_logits);
        match self.temperature {
            Temperature::Same(temperature) => assert::temperature(temperature),
            Temperature::PerRow(temperatures) => assert::one_temperature_per_row(student_logits, temperatures),
        }
        assert::count(count);
    }
}

impl Temperature<'_> {
    /// Divides `logits` `[rows, C]` by their temperatures.
    pub(crate) fn divide(self, logits: &Tensor) -> Tensor {
        match self {
            Temperature::Same(t) => softmax::tempered(logits, t),
            Temperature::PerRow(ts) => logits.to_kind(compute_kind(logits)) / column(ts, logits),
        }
    }
}

/// Returns the temperatures `[rows]` as a constant `[rows, 1]`, in the compute kind of `logits`.
fn column(temperatures: &Tensor, logits: &Tensor) -> Tensor {
    temperatures.detach().to_kind(compute_kind(logits)).unsqueeze(-1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::testing::{close, matrix_pair, value};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equal_temperatures_are_one_temperature((v, z) in matrix_pair(), t in 0.5f64..8.0) {
            let temperatures = Tensor::full(z.size()[0], t, (Kind::Double, tch::Device::Cpu));
            for loss in [SoftLoss::CrossEntropy, SoftLoss::KlDivergence] {
                for scaling in [SoftScaling::Plain, SoftScaling::TemperatureSquared] {
                    let same = Soft { loss, temperature: Temperature::Same(t), scaling };
                    let per_row = Soft { temperature: Temperature::PerRow(&temperatures), ..same };
                    close(&[value(&soft_loss(&v, &z, &per_row, 3))], &[value(&soft_loss(&v, &z, &same, 3))], 1e-12);
                }
            }
        }
    }
}
