//! The paired bootstrap: the difference of two models on the same rows, and a test of whether it could be chance.

use crate::error::{all_finite, same_length};
use crate::resample::mean;
use crate::{Bootstrap, Error, Interval};

/// The relative tolerance within which a resampled mean counts as equally far from 0 as the observed one: means that
/// are mathematically equal can differ in their last bits.
const TIE: f64 = 1e-12;

/// The result of [`paired_bootstrap`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    /// Mean of `left − right` and its percentile interval.
    pub difference: Interval,
    /// Two-sided p-value of "both have the same mean", between 1/(resamples + 1) and 1.
    pub p: f64,
}

/// Tests the difference of two means by the paired bootstrap.
///
/// `left[i]` and `right[i]` are the values of two models on the same row (impression, query). With d = left − right
/// and m its mean:
///
/// - the interval is [`bootstrap_mean`](crate::bootstrap_mean)'s for d;
/// - p is the share of resamples of d − m (which has mean 0 and the spread of d) whose mean is at least as far from 0
///   as m: p = (1 + #{|m*| ≥ |m|}) / (resamples + 1). The two added ones count the observation itself, so p is never 0
///   and a true null hypothesis is rejected at level α in at most about α of the cases (Efron and Tibshirani 1993,
///   section 16.4; Davison and Hinkley 1997, section 4.2).
///
/// Equal lists give p = 1. Costs n × resamples draws.
///
/// # Errors
/// Lists of different lengths or without entries, a value that is not finite, no resamples, or a level outside 0 to 1.
///
/// ```
/// use nb_eval::{Bootstrap, paired_bootstrap};
///
/// let right: Vec<f64> = (0..50).map(|row| f64::from(row % 5)).collect();
/// let left: Vec<f64> = right.iter().enumerate().map(|(row, value)| value + 0.1 + 0.05 * (row % 3) as f64).collect();
/// let test = paired_bootstrap(&left, &right, Bootstrap::default())?;
/// assert!(test.difference.low > 0.0 && test.p < 0.001);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn paired_bootstrap(left: &[f64], right: &[f64], bootstrap: Bootstrap) -> Result<PairedTest, Error> {
    bootstrap.check()?;
    same_length("left", left.len(), "right", right.len())?;
    all_finite("left", left)?;
    all_finite("right", right)?;
    let differences: Vec<f64> = left.iter().zip(right).map(|(l, r)| l - r).collect();
    all_finite("left − right", &differences)?;

    let observed = mean(&differences);
    let means = bootstrap.means(&differences);
    // The mean of a resample of d − m is the mean of the same resample of d, minus m: one set of draws serves both.
    let as_far =
        means.iter().filter(|&&resampled| (resampled - observed).abs() >= observed.abs() * (1.0 - TIE)).count();
    let (low, high) = bootstrap.middle(means);
    Ok(PairedTest {
        difference: Interval { mean: observed, low, high },
        p: (1 + as_far) as f64 / (1 + bootstrap.resamples) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(left: &[f64], right: &[f64]) -> PairedTest {
        paired_bootstrap(left, right, Bootstrap { resamples: 2000, ..Bootstrap::default() }).unwrap()
    }

    #[test]
    fn equal_lists_have_no_difference() {
        let values = [0.1, 0.5, 0.7];
        assert_eq!(
            test(&values, &values),
            PairedTest { difference: Interval { mean: 0.0, low: 0.0, high: 0.0 }, p: 1.0 }
        );
    }

    #[test]
    fn swapping_the_models_negates_the_difference() {
        let left: Vec<f64> = (0..30).map(|i| f64::from(i * i % 7)).collect();
        let right: Vec<f64> = (0..30).map(|i| f64::from(i % 5)).collect();
        let (forward, swapped) = (test(&left, &right), test(&right, &left));
        assert_eq!(forward.difference.mean, -swapped.difference.mean);
        assert_eq!(forward.p, swapped.p);
        assert!((forward.difference.low + swapped.difference.high).abs() < 1e-12);
    }

    #[test]
    fn p_of_three_differences_matches_the_exact_distribution() {
        // d = 0, 0, 3, m = 1; a resample with k threes has mean k, P(k) = 8, 12, 6, 1 of 27; |k − 1| ≥ 1: 15 of 27.
        let found =
            paired_bootstrap(&[0.0, 0.0, 3.0], &[0.0; 3], Bootstrap { resamples: 40_000, ..Bootstrap::default() });
        // Standard deviation of the share: √(5/9 · 4/9 / 40,000) = 0.0025.
        assert!((found.unwrap().p - 15.0 / 27.0).abs() < 0.01);
    }

    #[test]
    fn a_true_null_hypothesis_is_rejected_about_as_often_as_the_level() {
        let mut state = 9u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let rejected = (0..400)
            .filter(|&seed| {
                let left: Vec<f64> = (0..40).map(|_| uniform()).collect();
                let right: Vec<f64> = (0..40).map(|_| uniform()).collect();
                paired_bootstrap(&left, &right, Bootstrap { seed, resamples: 300, level: 0.95 }).unwrap().p <= 0.1
            })
            .count();
        // Binomial(400, 0.1) has mean 40 and standard deviation 6.
        assert!((20..=62).contains(&rejected), "{rejected} of 400");
    }

    #[test]
    fn bad_lists_are_refused() {
        let refused = |l: &[f64], r: &[f64]| paired_bootstrap(l, r, Bootstrap::default()).unwrap_err().to_string();
        assert_eq!(refused(&[1.0], &[]), "left has 1 entries but right has 0, expected the same number");
        assert_eq!(refused(&[1.0], &[f64::NAN]), "entry 0 of right is NaN, expected a finite number");
        assert_eq!(refused(&[f64::MAX], &[f64::MIN]), "entry 0 of left − right is inf, expected a finite number");
    }
}
