//! Mean and standard deviation of a few numbers.

use crate::Error;
use crate::error::all_finite;
use crate::resample::mean;

/// A mean and a standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean of the values.
    pub mean: f64,
    /// Sample standard deviation; `None` for a single value.
    pub deviation: Option<f64>,
}

/// Returns the mean and the sample standard deviation, for instance of a metric over seeds.
///
/// ```text
/// mean = Σ xᵢ / n,   deviation = √( Σ (xᵢ − mean)² / (n − 1) )
/// ```
///
/// The deviation is that of single values, not the error of their mean: for runs that differ only in the seed, it
/// estimates how far the next run may be from these. From three seeds, it is a rough estimate (its relative error is
/// about one half).
///
/// # Errors
/// No values, or a value that is not finite.
///
/// ```
/// let accuracy = nb_eval::spread(&[0.90, 0.92, 0.94])?;
/// assert!((accuracy.mean - 0.92).abs() < 1e-12 && (accuracy.deviation.unwrap() - 0.02).abs() < 1e-12);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn spread(values: &[f64]) -> Result<Spread, Error> {
    all_finite("the list", values)?;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt());
    Ok(Spread { mean, deviation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_by_one_less_than_the_number_of_values() {
        // Mean 5, squares 9 1 1 1 0 0 4 16: 32 / 7.
        let found = spread(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(found, Ok(Spread { mean: 5.0, deviation: Some((32.0f64 / 7.0).sqrt()) }));
        assert_eq!(spread(&[3.0, 3.0]), Ok(Spread { mean: 3.0, deviation: Some(0.0) }));
        assert_eq!(spread(&[3.0]), Ok(Spread { mean: 3.0, deviation: None }));
    }

    #[test]
    fn values_that_cannot_be_averaged_are_refused() {
        let refused = |values: &[f64]| spread(values).unwrap_err().to_string();
        assert_eq!(refused(&[]), "the list has no entry, expected at least one");
        assert_eq!(refused(&[0.0, f64::NAN]), "entry 1 of the list is NaN, expected a finite number");
    }
}
