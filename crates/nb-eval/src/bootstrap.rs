//! A confidence interval of a mean, without assuming a distribution.

use crate::error::all_finite;
use crate::resample::mean;
use crate::{Bootstrap, Error};

/// A mean and its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean of the values.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Returns the percentile bootstrap interval of a mean (Efron 1979).
///
/// n values are drawn from the n values with replacement, `resamples` times. The interval extends from the
/// (1 − level)/2 to the (1 + level)/2 quantile of the means of those resamples, interpolated linearly between order
/// statistics. The values must be independent of each other: one per row, impression or query. If a right answer counts
/// 1 and a wrong one 0, the mean is the accuracy. For few values (below about 20) the interval is too narrow.
///
/// Takes n × resamples draws on all cores; the result depends only on the arguments.
///
/// # Errors
/// No values, a value that is not finite, no resamples, or a level outside 0 to 1.
///
/// ```
/// use nb_eval::{Bootstrap, bootstrap_mean};
///
/// let right: Vec<f64> = (0..1000).map(|row| if row % 10 == 0 { 0.0 } else { 1.0 }).collect();
/// let accuracy = bootstrap_mean(&right, Bootstrap::default())?;
/// assert_eq!(accuracy.mean, 0.9);
/// // The normal approximation has 0.9 ± 1.96·√(0.9·0.1/1000) = 0.9 ± 0.0186.
/// assert!((accuracy.low - 0.8814).abs() < 2e-3 && (accuracy.high - 0.9186).abs() < 2e-3);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn bootstrap_mean(values: &[f64], bootstrap: Bootstrap) -> Result<Interval, Error> {
    bootstrap.check()?;
    all_finite("the sample", values)?;
    let (low, high) = bootstrap.middle(bootstrap.means(values));
    Ok(Interval { mean: mean(values), low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_have_the_three_means_of_the_exact_distribution() {
        // Means 0, ½, 1 with probabilities ¼, ½, ¼: the middle 40 % is all ½, the middle 60 % spans everything.
        let at = |level| bootstrap_mean(&[0.0, 1.0], Bootstrap { level, ..Bootstrap::default() }).unwrap();
        assert_eq!(at(0.4), Interval { mean: 0.5, low: 0.5, high: 0.5 });
        assert_eq!(at(0.6), Interval { mean: 0.5, low: 0.0, high: 1.0 });
    }

    #[test]
    fn the_result_depends_on_the_seed_but_not_on_threads() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i).sqrt()).collect();
        let on = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                bootstrap_mean(&values, Bootstrap { seed, resamples: 500, ..Bootstrap::default() }).unwrap()
            })
        };
        assert_eq!(on(1, 7), on(4, 7));
        assert_ne!(on(1, 7), on(1, 8));
    }

    #[test]
    fn the_interval_covers_the_true_mean_about_as_often_as_its_level() {
        // 300 samples of 60 uniform values, whose mean is ½, from a separate linear congruential generator.
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let covered = (0..300)
            .filter(|&seed| {
                let sample: Vec<f64> = (0..60).map(|_| uniform()).collect();
                let found = bootstrap_mean(&sample, Bootstrap { seed, resamples: 400, level: 0.9 }).unwrap();
                found.low <= 0.5 && 0.5 <= found.high
            })
            .count();
        // Binomial(300, 0.9) has mean 270 and standard deviation 5.2.
        assert!((250..=288).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn values_that_cannot_be_averaged_are_refused() {
        let refused = |values: &[f64]| bootstrap_mean(values, Bootstrap::default()).unwrap_err().to_string();
        assert_eq!(refused(&[]), "the sample has no entry, expected at least one");
        assert_eq!(refused(&[1.0, f64::INFINITY]), "entry 1 of the sample is inf, expected a finite number");
    }
}
