//! The soft loss in all its forms: cross entropy or KL divergence, one temperature or one for each row, with T² or
//! without.

use tch::Tensor;

use crate::reduce::{compute_kind, mean};
use crate::{assert, softmax};

/// Which distance from the teacher's softened prediction p the student's q is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SoftLoss {
    /// −Σ_j p_j log q_j.
    #[default]
    CrossEntropy,
    /// Σ_j p_j (log p_j − log q_j): the cross entropy less the entropy of p. The gradient is the same, and the loss is
    /// 0 where the predictions are equal.
    KlDivergence,
}

/// What logits are divided by before the softmax.
#[derive(Debug, Clone, Copy)]
pub enum Temperature<'a> {
    /// The same T for all rows.
    Same(f64),
    /// A T for each row, `[rows]`, taken as a constant. Each must be a finite number above 0: they lie on the device,
    /// and looking at them would mean waiting for it.
    PerRow(&'a Tensor),
}

/// How the soft loss enters the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SoftScaling {
    /// As it is. Its gradient then shrinks as 1/T².
    #[default]
    Plain,
    /// Times T², so that its gradient keeps its size when the temperature changes (Hinton, Vinyals and Dean 2015,
    /// section 2).
    TemperatureSquared,
}

/// The settings of [`soft_loss`].
#[derive(Debug, Clone, Copy)]
pub struct Soft<'a> {
    /// Cross entropy or KL divergence.
    pub loss: SoftLoss,
    /// T, one or one for each row.
    pub temperature: Temperature<'a>,
    /// Whether each row's loss is multiplied by its T².
    pub scaling: SoftScaling,
}

/// The soft loss: Σ_r w_r·D_r / count, where D_r is the cross entropy or the KL divergence of row r at its temperature
/// T_r, and w_r = 1 or T_r².
///
/// p = softmax(v/T) from the teacher's logits v, q = softmax(z/T) from the student's logits z (Hinton, Vinyals and Dean
/// 2015, section 2). Temperatures of its own for each row: [`flsw_temperatures`](crate::flsw_temperatures),
/// [`cwsm_temperatures`](crate::cwsm_temperatures). [`soft_cross_entropy`](crate::soft_cross_entropy) and
/// [`soft_kl_divergence`](crate::soft_kl_divergence) are this with one temperature and without T².
///
/// Teacher and temperatures are constants: no gradient reaches `teacher_logits`, nor the temperatures, even if they
/// were made of the student's logits. The student's is ∂/∂z_r = w_r·(q_r − p_r) / (T_r·count) for either loss.
///
/// # Shapes
/// Both logits `[rows, C]`, finite; temperatures per row `[rows]`, on the same device. `count` is the number of rows in
/// the whole global batch; 0 gives exactly 0. The result is a scalar.
///
/// # Panics
/// Shapes that differ or are not two-dimensional, another number of temperatures than of rows or temperatures that are
/// no floating-point numbers, one temperature for all that is not a finite number above 0, a negative count.
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
    assert::same_rows("logits", teacher_logits, student_logits);
    if let Temperature::PerRow(temperatures) = soft.temperature {
        assert::one_temperature_per_row(student_logits, temperatures);
    }
    assert::count(count);
    let kind = compute_kind(student_logits);
    let teacher = soft.temperature.divide(&teacher_logits.detach());
    let p = teacher.softmax(-1, None).to_kind(kind); // [rows, C]
    let log_q = soft.temperature.divide(student_logits).log_softmax(-1, None); // [rows, C]
    let terms = match soft.loss {
        SoftLoss::CrossEntropy => -(p * log_q),
        // Log-softmax is finite even where p is 0 by rounding: 0·log 0 is 0.
        SoftLoss::KlDivergence => p * (teacher.log_softmax(-1, None).to_kind(kind) - log_q),
    }; // [rows, C]
    let sum = match (soft.scaling, soft.temperature) {
        (SoftScaling::Plain, _) => terms.sum(kind),
        (SoftScaling::TemperatureSquared, Temperature::Same(t)) => terms.sum(kind) * (t * t),
        (SoftScaling::TemperatureSquared, Temperature::PerRow(ts)) => {
            (terms * column(ts, student_logits).square()).sum(kind)
        }
    };
    mean(&sum, count, student_logits)
}

impl Temperature<'_> {
    /// `logits` `[rows, C]` divided by their temperatures.
    fn divide(self, logits: &Tensor) -> Tensor {
        match self {
            Temperature::Same(t) => softmax::tempered(logits, t),
            Temperature::PerRow(ts) => logits.to_kind(compute_kind(logits)) / column(ts, logits),
        }
    }
}

/// Temperatures `[rows]` as a constant `[rows, 1]`, in the kind that `logits` are computed in.
fn column(temperatures: &Tensor, logits: &Tensor) -> Tensor {
    temperatures.detach().to_kind(compute_kind(logits)).unsqueeze(-1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::numeric::{close, finite_differences, gradient, matrix_pair, panic_of, value, values};
    use crate::{soft_cross_entropy, soft_kl_divergence};

    /// All losses with and without T².
    fn forms() -> [(SoftLoss, SoftScaling); 4] {
        [
            (SoftLoss::CrossEntropy, SoftScaling::Plain),
            (SoftLoss::CrossEntropy, SoftScaling::TemperatureSquared),
            (SoftLoss::KlDivergence, SoftScaling::Plain),
            (SoftLoss::KlDivergence, SoftScaling::TemperatureSquared),
        ]
    }

    fn per_row(loss: SoftLoss, scaling: SoftScaling, temperatures: &Tensor) -> Soft<'_> {
        Soft { loss, temperature: Temperature::PerRow(temperatures), scaling }
    }

    /// 0.7, 2, 3.3 …: a temperature of its own for each row.
    fn temperatures_for(logits: &Tensor) -> Tensor {
        Tensor::from_slice(&(0..logits.size()[0]).map(|row| 0.7 + 1.3 * row as f64).collect::<Vec<_>>())
    }

    #[test]
    fn neither_teacher_nor_temperatures_get_a_gradient() {
        let leaf = |entries: &[f64]| Tensor::from_slice(entries).set_requires_grad(true);
        for (loss, scaling) in forms() {
            let (teacher, student, temperatures) = (leaf(&[0.3, -0.2]), leaf(&[0.1, 0.4]), leaf(&[2.0]));
            let soft = per_row(loss, scaling, &temperatures);
            soft_loss(&teacher.unsqueeze(0), &student.unsqueeze(0), &soft, 1).backward();
            assert!(!teacher.grad().defined() && !temperatures.grad().defined());
            assert!(student.grad().abs().max().double_value(&[]) > 0.0);
        }
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        let (teacher, student) = (Tensor::from_slice2(&[[0.3, -1.7]]), Tensor::from_slice2(&[[1.1, 0.2]]));
        let temperatures = Tensor::from_slice(&[1.5]);
        let at = |kind, computed| {
            let [teacher, student, temperatures] =
                [&teacher, &student, &temperatures].map(|xs| xs.to_kind(kind).to_kind(computed));
            forms().map(|(loss, scaling)| soft_loss(&teacher, &student, &per_row(loss, scaling, &temperatures), 1))
        };
        for kind in [Kind::BFloat16, Kind::Half] {
            for (found, expected) in at(kind, kind).iter().zip(&at(kind, Kind::Float)) {
                assert_eq!((found.kind(), value(found)), (Kind::Float, value(expected)));
            }
        }
    }

    #[test]
    fn a_batch_without_rows_is_0_with_a_zero_gradient() {
        let (logits, temperatures) = (Tensor::from_slice2(&[[f64::INFINITY, 0.0]]), Tensor::from_slice(&[2.0]));
        for (loss, scaling) in forms() {
            let loss = |student: &Tensor| soft_loss(&logits, student, &per_row(loss, scaling, &temperatures), 0);
            assert_eq!((value(&loss(&logits)), values(&gradient(loss, &logits))), (0.0, vec![0.0, 0.0]));
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
        let with = |temperatures: &Tensor| {
            let soft = per_row(SoftLoss::CrossEntropy, SoftScaling::Plain, temperatures);
            panic_of(|| soft_loss(&logits, &logits, &soft, 2))
        };
        let message = with(&Tensor::from_slice(&[1.0]));
        assert_eq!(message, "temperatures have shape [1], expected [2] for logits of [2, 3]");
        let message = with(&Tensor::from_slice(&[1i64, 2]));
        assert_eq!(message, "temperatures are Int64, expected a floating-point kind");
        let zero =
            Soft { loss: SoftLoss::KlDivergence, temperature: Temperature::Same(0.0), scaling: SoftScaling::Plain };
        let message = panic_of(|| soft_loss(&logits, &logits, &zero, 2));
        assert_eq!(message, "the temperature is 0, expected a finite number above 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_have_their_own_temperatures((v, z) in matrix_pair()) {
            let temperatures = temperatures_for(&z);
            for (loss, scaling) in forms() {
                let alone = |row: i64| {
                    let (t, v, z) = (temperatures.double_value(&[row]), v.narrow(0, row, 1), z.narrow(0, row, 1));
                    let factor = if scaling == SoftScaling::Plain { 1.0 } else { t * t };
                    factor * match loss {
                        SoftLoss::CrossEntropy => value(&soft_cross_entropy(&v, &z, t, 7)),
                        SoftLoss::KlDivergence => value(&soft_kl_divergence(&v, &z, t, 7)),
                    }
                };
                let found = soft_loss(&v, &z, &per_row(loss, scaling, &temperatures), 7);
                close(&[value(&found)], &[(0..z.size()[0]).map(alone).sum()], 1e-12);
            }
        }

        #[test]
        fn equal_temperatures_are_one_temperature((v, z) in matrix_pair(), t in 0.5f64..8.0) {
            let temperatures = Tensor::full(z.size()[0], t, (Kind::Double, tch::Device::Cpu));
            for (loss, scaling) in forms() {
                let same = Soft { loss, temperature: Temperature::Same(t), scaling };
                let per_row = per_row(loss, scaling, &temperatures);
                close(&[value(&soft_loss(&v, &z, &per_row, 3))], &[value(&soft_loss(&v, &z, &same, 3))], 1e-12);
            }
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences((v, z) in matrix_pair()) {
            let temperatures = temperatures_for(&z);
            for (loss, scaling) in forms() {
                let loss = |z: &Tensor| soft_loss(&v, z, &per_row(loss, scaling, &temperatures), 3);
                close(&values(&gradient(loss, &z)), &finite_differences(loss, &z), 1e-7);
            }
        }

        #[test]
        fn micro_batches_sum_to_the_batch((v, z) in matrix_pair()) {
            let (temperatures, n_rows) = (temperatures_for(&z), z.size()[0]);
            for (loss, scaling) in forms() {
                let of = |first, rows| {
                    let part = |xs: &Tensor| xs.narrow(0, first, rows);
                    value(&soft_loss(&part(&v), &part(&z), &per_row(loss, scaling, &part(&temperatures)), n_rows))
                };
                close(&[(0..n_rows).map(|row| of(row, 1)).sum()], &[of(0, n_rows)], 1e-12);
            }
        }
    }
}
