//! Temperatures that adapt to each row: lower where the student has more to learn.
//!
//! Both functions give a row a weight w that grows with its difficulty, and lower the temperature as the weight grows:
//! T = base + (w̄ − w)·β. The idea and the two weights are from "Preparing Lessons: Improve Knowledge Distillation with
//! Better Supervision" (Wen, Lai and Qian, arXiv 1911.07471); the constants are those of TextBrewer
//! (`src/textbrewer/schedulers.py` of airaria/TextBrewer). The results are meant for
//! [`Temperature::PerRow`](crate::Temperature::PerRow).

use tch::Tensor;

use crate::assert;
use crate::reduce::compute_kind;

/// The lower bound of adaptive temperatures. TextBrewer has no such bound: with a large β, T can reach 0, where the
/// loss is NaN, or fall below 0, where the student learns the reversed ranking of the classes.
pub const LEAST_TEMPERATURE: f64 = 0.1;

/// Added to the norm of logits, so that the direction of logits that are all 0 is 0 instead of NaN (TextBrewer's constant).
const NORM_EPS: f64 = 1e-4;

/// Added to the largest probability (TextBrewer's constant).
const CONFIDENCE_EPS: f64 = 1e-3;

/// Temperatures by focal-loss-style weights (FLSW): lower for rows where the directions of the student's and the
/// teacher's logits differ.
///
/// w = (1 − cos(z, v))^γ with the student's logits z and the teacher's v, where the norms in the cosine are ‖·‖ + 1e-4;
/// T = base + (w̄ − w)·β, at least [`LEAST_TEMPERATURE`]. w̄ is the mean over the given rows, so the temperatures
/// depend on how the global batch is split into micro-batches. 1 − cos counts as 0 if rounding makes it negative.
///
/// The temperatures are constants: no gradient reaches the logits of either model.
///
/// # Shapes
/// Both logits `[rows, C]`, finite; the result `[rows]`, in `f32` for 16-bit logits.
///
/// # Panics
/// Shapes that differ or are not two-dimensional, a `base` that is not a finite number above 0, a `beta` that is not
/// finite, a `gamma` that is not finite or is below 0 (equal logits would have an infinite weight).
///
/// ```
/// use tch::Tensor;
///
/// // The first row agrees, w = 0; the second is at right angles, w = 1.
/// let teacher = Tensor::from_slice2(&[[1e3, 0.0], [0.0, 1e3]]);
/// let student = Tensor::from_slice2(&[[2e3, 0.0], [2e3, 0.0]]);
/// let temperatures = nb_loss::flsw_temperatures(&teacher, &student, 4.0, 2.0, 1.0);
/// assert!((temperatures.double_value(&[0]) - 5.0).abs() < 1e-6);
/// assert!((temperatures.double_value(&[1]) - 3.0).abs() < 1e-6);
/// ```
pub fn flsw_temperatures(teacher_logits: &Tensor, student_logits: &Tensor, base: f64, beta: f64, gamma: f64) -> Tensor {
    assert::same_rows("logits", teacher_logits, student_logits);
    assert::exponent("gamma", gamma);
    let kind = compute_kind(student_logits);
    let direction = |logits: &Tensor| {
        let logits = logits.detach().to_kind(kind);
        let norms = logits.norm_scalaropt_dim(2, -1, true); // [rows, 1]
        logits / (norms + NORM_EPS)
    };
    let cosines = (direction(student_logits) * direction(teacher_logits)).sum_dim_intlist(-1, false, kind); // [rows]
    let distances: Tensor = 1.0 - cosines; // [rows]
    let weights = distances.clamp_min(0.0).pow_tensor_scalar(gamma);
    lowered_by(&weights, base, beta)
}

/// Temperatures by confidence weighted by student max (CWSM): lower for rows where the student is unsure.
///
/// w = 1 / (max_j softmax(z)_j + 1e-3) with the student's logits z; T = base + (w̄ − w)·β, at least
/// [`LEAST_TEMPERATURE`]. w̄ is the mean over the given rows, so the temperatures depend on how the global batch is
/// split into micro-batches.
///
/// The temperatures are constants: no gradient reaches the logits.
///
/// # Shapes
/// Logits `[rows, C]`, finite; the result `[rows]`, in `f32` for 16-bit logits.
///
/// # Panics
/// Logits that are not two-dimensional, a `base` that is not a finite number above 0, a `beta` that is not finite.
///
/// ```
/// use tch::Tensor;
///
/// // The largest probabilities are 1/2 and 1.
/// let student = Tensor::from_slice2(&[[0.0, 0.0], [1e3, 0.0]]);
/// let temperatures = nb_loss::cwsm_temperatures(&student, 4.0, 2.0);
/// let (unsure, sure) = (1.0 / 0.501, 1.0 / 1.001);
/// assert!((temperatures.double_value(&[0]) - (4.0 - (unsure - sure))).abs() < 1e-12);
/// assert!((temperatures.double_value(&[1]) - (4.0 + (unsure - sure))).abs() < 1e-12);
/// ```
pub fn cwsm_temperatures(student_logits: &Tensor, base: f64, beta: f64) -> Tensor {
    assert::rows("logits", student_logits);
    let logits = student_logits.detach().to_kind(compute_kind(student_logits));
    let confidences = logits.softmax(-1, None).amax(-1, false); // [rows]
    lowered_by(&(confidences + CONFIDENCE_EPS).reciprocal(), base, beta)
}

/// Returns base + (w̄ − w)·β, at least [`LEAST_TEMPERATURE`].
#[track_caller]
fn lowered_by(weights: &Tensor, base: f64, beta: f64) -> Tensor {
    assert::temperature(base);
    assert::finite("beta", beta);
    ((weights.mean(None) - weights) * beta + base).clamp_min(LEAST_TEMPERATURE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::testing::{close, matrix, matrix_pair, panic_of, values};

    /// base + (w̄ − w)·β in plain numbers.
    fn expected(weights: &[f64], base: f64, beta: f64) -> Vec<f64> {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        weights.iter().map(|w| (base + (mean - w) * beta).max(LEAST_TEMPERATURE)).collect()
    }

    fn rows_of(xs: &Tensor) -> Vec<Vec<f64>> {
        (0..xs.size()[0]).map(|row| values(&xs.get(row))).collect()
    }

    #[test]
    fn temperatures_are_constants() {
        let logits = Tensor::from_slice2(&[[0.3, -0.2], [0.5, 1.0]]).set_requires_grad(true);
        assert!(!flsw_temperatures(&logits, &(-&logits), 4.0, 1.0, 1.0).requires_grad());
        assert!(!cwsm_temperatures(&logits, 4.0, 1.0).requires_grad());
    }

    #[test]
    fn a_large_beta_gives_the_least_temperature() {
        let teacher = Tensor::from_slice2(&[[1.0, 0.0], [0.0, 1.0]]);
        let student = Tensor::from_slice2(&[[9.0, 0.0], [9.0, 8.9]]);
        let least = |temperatures: Tensor| temperatures.min().double_value(&[]);
        assert_eq!(least(flsw_temperatures(&teacher, &student, 1.0, 100.0, 1.0)), LEAST_TEMPERATURE);
        assert_eq!(least(cwsm_temperatures(&student, 1.0, 100.0)), LEAST_TEMPERATURE);
    }

    #[test]
    fn rounding_causes_no_nan() {
        // Parallel logits: rounding can put the cosine on either side of 1, and a root of 1 − cos must not be NaN.
        let student = Tensor::arange(3000, (Kind::Float, tch::Device::Cpu)).view([1000, 3]) * 1e3 + 1.0;
        for kind in [Kind::Float, Kind::Double] {
            let found = flsw_temperatures(&(&student * 3.0).to_kind(kind), &student.to_kind(kind), 4.0, 1.0, 0.5);
            assert!(values(&found).iter().all(|t| (t - 4.0).abs() < 0.01), "{found:?}");
        }
        let zeros = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
        assert_eq!(values(&flsw_temperatures(&zeros, &zeros, 4.0, 1.0, 2.0)), [4.0, 4.0]);
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32() {
        let logits = Tensor::from_slice2(&[[0.3, -1.7], [2.0, 0.1]]);
        for kind in [Kind::BFloat16, Kind::Half] {
            let given = logits.to_kind(kind);
            let computed = given.to_kind(Kind::Float);
            let (found, expected) = (
                flsw_temperatures(&given, &-&given, 4.0, 1.0, 2.0),
                flsw_temperatures(&computed, &-&computed, 4.0, 1.0, 2.0),
            );
            assert_eq!((found.kind(), values(&found)), (Kind::Float, values(&expected)));
            let (found, expected) = (cwsm_temperatures(&given, 4.0, 1.0), cwsm_temperatures(&computed, 4.0, 1.0));
            assert_eq!((found.kind(), values(&found)), (Kind::Float, values(&expected)));
        }
    }

    #[test]
    fn no_rows_have_no_temperatures() {
        let none = Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu));
        assert_eq!(flsw_temperatures(&none, &none, 4.0, 1.0, 1.0).size(), [0]);
        assert_eq!(cwsm_temperatures(&none, 4.0, 1.0).size(), [0]);
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
        let message = panic_of(|| flsw_temperatures(&logits, &logits, 4.0, 1.0, -1.0));
        assert_eq!(message, "gamma is -1, expected a finite number of at least 0");
        let message = panic_of(|| flsw_temperatures(&logits, &logits, 0.0, 1.0, 1.0));
        assert_eq!(message, "the temperature is 0, expected a finite number above 0");
        let message = panic_of(|| cwsm_temperatures(&logits, 4.0, f64::INFINITY));
        assert_eq!(message, "beta is inf, expected a finite number");
        let message = panic_of(|| cwsm_temperatures(&logits.get(0), 4.0, 1.0));
        assert_eq!(message, "logits has shape [3], expected two dimensions");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn flsw_matches_the_formula((v, z) in matrix_pair(), base in 0.5f64..8.0, beta in -2.0f64..2.0, gamma in 0.5f64..3.0) {
            let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-4;
            let weight = |(v, z): (Vec<f64>, Vec<f64>)| {
                let dot: f64 = v.iter().zip(&z).map(|(v, z)| v * z).sum();
                (1.0 - dot / (norm(&v) * norm(&z))).powf(gamma)
            };
            let weights: Vec<f64> = rows_of(&v).into_iter().zip(rows_of(&z)).map(weight).collect();
            close(&values(&flsw_temperatures(&v, &z, base, beta, gamma)), &expected(&weights, base, beta), 1e-9);
        }

        #[test]
        fn cwsm_matches_the_formula(z in matrix(), base in 0.5f64..8.0, beta in -2.0f64..2.0) {
            let weight = |row: Vec<f64>| {
                let exps: Vec<f64> = row.iter().map(|z| z.exp()).collect();
                1.0 / (exps.iter().copied().fold(0.0, f64::max) / exps.iter().sum::<f64>() + 1e-3)
            };
            let weights: Vec<f64> = rows_of(&z).into_iter().map(weight).collect();
            close(&values(&cwsm_temperatures(&z, base, beta)), &expected(&weights, base, beta), 1e-12);
        }

        #[test]
        fn a_single_row_has_the_base_temperature((v, z) in matrix_pair(), base in 0.5f64..8.0) {
            let (v, z) = (v.narrow(0, 0, 1), z.narrow(0, 0, 1));
            prop_assert_eq!(values(&flsw_temperatures(&v, &z, base, 2.0, 2.0)), vec![base]);
            prop_assert_eq!(values(&cwsm_temperatures(&z, base, 2.0)), vec![base]);
        }
    }
}
