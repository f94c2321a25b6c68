//! Softmax with temperature, and its logarithm.

use tch::Tensor;

use crate::assert;
use crate::reduce::compute_kind;

/// Softmax with temperature over the last dimension: q_i = exp(z_i/T) / Σ_j exp(z_j/T).
///
/// T = 1 is softmax. A higher T is smoother and gives unlikely classes more weight; T → ∞ gives the uniform
/// distribution, and T → 0 puts all probability on the largest logit.
///
/// # Shapes
/// `logits` `[…, C]`; the result has the same shape, in `f32` for 16-bit logits.
///
/// # Panics
/// If the temperature is not a finite number above 0, or if the logits are not floating-point numbers.
///
/// ```
/// use tch::Tensor;
///
/// let logits = Tensor::from_slice(&[3f64.ln(), 0.0]);
/// let at_1 = nb_loss::softmax_with_temperature(&logits, 1.0);
/// assert!((at_1.double_value(&[0]) - 0.75).abs() < 1e-12);
/// let at_2 = nb_loss::softmax_with_temperature(&logits, 2.0);
/// assert!((at_2.double_value(&[0]) - 3f64.sqrt() / (3f64.sqrt() + 1.0)).abs() < 1e-12);
/// ```
pub fn softmax_with_temperature(logits: &Tensor, temperature: f64) -> Tensor {
    tempered(logits, temperature).softmax(-1, None)
}

/// The natural logarithm of [`softmax_with_temperature`], finite for all finite logits: log q_i = z_i/T − log Σ_j exp(z_j/T).
///
/// # Shapes
/// `logits` `[…, C]`; the result has the same shape, in `f32` for 16-bit logits.
///
/// # Panics
/// If the temperature is not a finite number above 0, or if the logits are not floating-point numbers.
pub fn log_softmax_with_temperature(logits: &Tensor, temperature: f64) -> Tensor {
    tempered(logits, temperature).log_softmax(-1, None)
}

/// Divides `logits` by one temperature, in their compute kind.
pub(crate) fn tempered(logits: &Tensor, temperature: f64) -> Tensor {
    assert::temperature(temperature);
    logits.to_kind(compute_kind(logits)) / temperature
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::testing::{close, panic_of, values};

    #[test]
    fn extreme_logits_stay_finite() {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            let logits = Tensor::from_slice(&[1e4, -1e4, 0.0]).to_kind(kind);
            assert_eq!(values(&softmax_with_temperature(&logits, 1.0)), [1.0, 0.0, 0.0]);
            let log = values(&log_softmax_with_temperature(&logits, 1.0));
            assert!(log.iter().all(|entry| entry.is_finite()), "{kind:?}: {log:?}");
        }
    }

    #[test]
    fn sixteen_bits_are_computed_in_f32_and_other_kinds_stay() {
        for (given, computed) in [
            (Kind::BFloat16, Kind::Float),
            (Kind::Half, Kind::Float),
            (Kind::Float, Kind::Float),
            (Kind::Double, Kind::Double),
        ] {
            let logits = Tensor::from_slice(&[0.3, -1.7, 2.9]).to_kind(given);
            let found = softmax_with_temperature(&logits, 3.0);
            assert_eq!(found.kind(), computed);
            assert_eq!(found, softmax_with_temperature(&logits.to_kind(computed), 3.0));
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let logits = Tensor::from_slice(&[0.0, 1.0]);
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = panic_of(|| softmax_with_temperature(&logits, temperature));
            assert_eq!(message, format!("the temperature is {temperature}, expected a finite number above 0"));
        }
        let message = panic_of(|| softmax_with_temperature(&Tensor::from_slice(&[1i64]), 1.0));
        assert!(message.contains("Int64"), "{message}");
    }

    proptest! {
        #[test]
        fn matches_the_formula(logits in prop::collection::vec(-20.0f64..20.0, 1..9), temperature in 0.3f64..30.0) {
            let exps: Vec<f64> = logits.iter().map(|z| (z / temperature).exp()).collect();
            let sum: f64 = exps.iter().sum();
            let expected: Vec<f64> = exps.iter().map(|exp| exp / sum).collect();
            let logits = Tensor::from_slice(&logits);
            close(&values(&softmax_with_temperature(&logits, temperature)), &expected, 1e-12);
            let log: Vec<f64> = expected.iter().map(|q| q.ln()).collect();
            close(&values(&log_softmax_with_temperature(&logits, temperature)), &log, 1e-10);
        }

        #[test]
        fn at_temperature_1_it_is_softmax(logits in prop::collection::vec(-20.0f64..20.0, 1..9)) {
            let logits = Tensor::from_slice(&logits);
            prop_assert_eq!(softmax_with_temperature(&logits, 1.0), logits.softmax(-1, None));
        }

        #[test]
        fn a_higher_temperature_is_smoother(logits in prop::collection::vec(-5.0f64..5.0, 2..9), low in 0.5f64..5.0, more in 0.5f64..5.0) {
            let logits = Tensor::from_slice(&logits);
            let largest = |t| values(&softmax_with_temperature(&logits, t)).into_iter().fold(0.0, f64::max);
            prop_assert!(largest(low + more) <= largest(low) + 1e-12);
        }
    }
}
