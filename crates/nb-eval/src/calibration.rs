//! Calibration: whether a model that is 90 % confident is right nine times out of ten.

use crate::Error;
use crate::error::{all_probabilities, same_length};

/// The accuracy of a model at each level of confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Bins of equal width over 0 to 1, in ascending order.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error, from 0 (accuracy equals confidence) to 1.
    pub expected_error: f64,
}

/// The rows whose confidence falls into a bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationBin {
    /// Lower end, inclusive.
    pub low: f64,
    /// Upper end, exclusive except in the last bin.
    pub high: f64,
    /// Number of rows.
    pub count: u64,
    /// Their mean confidence; `None` for an empty bin.
    pub confidence: Option<f64>,
    /// Share of rows that are right; `None` for an empty bin.
    pub accuracy: Option<f64>,
}

/// Returns the calibration of the probabilities that a model assigns to its predictions.
///
/// `confidence[i]` is the probability of the class predicted for row i, and `right[i]` is true if that class is the
/// true one. Bin m of M holds the rows whose confidence is in [m/M, (m + 1)/M); the last bin also includes 1. Over n
/// rows, the expected calibration error is
///
/// ```text
/// ECE = Σ_m (|B_m| / n) · |accuracy(B_m) − confidence(B_m)|
/// ```
///
/// (Guo et al. 2017, "On calibration of modern neural networks", equation 3, whose bins include their upper instead of
/// their lower end). It depends on the number of bins and is biased upward where bins have few rows: compare models on
/// the same rows with the same bins.
///
/// # Errors
/// Lists of different lengths or without entries, a confidence that is NaN or not between 0 and 1, no bins.
///
/// ```
/// let calibration = nb_eval::calibration(&[0.9, 0.8, 0.9, 0.4], &[true, true, false, true], 2)?;
/// let (low, high) = (calibration.bins[0], calibration.bins[1]);
/// assert_eq!((low.count, low.accuracy), (1, Some(1.0)));
/// assert_eq!((high.count, high.accuracy), (3, Some(2.0 / 3.0)));
/// // ¼·|1 − 0.4| + ¾·|2/3 − 2.6/3| = 0.15 + 0.15
/// assert!((calibration.expected_error - 0.3).abs() < 1e-12);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn calibration(confidence: &[f64], right: &[bool], bins: usize) -> Result<Calibration, Error> {
    if bins == 0 {
        return Err(Error::NoBins);
    }
    same_length("confidence", confidence.len(), "right", right.len())?;
    if confidence.is_empty() {
        return Err(Error::Empty { name: "confidence" });
    }
    all_probabilities("confidence", confidence)?;

    let mut sums = vec![BinSums::default(); bins];
    for (&confidence, &right) in confidence.iter().zip(right) {
        let bin = &mut sums[((confidence * bins as f64) as usize).min(bins - 1)];
        bin.count += 1;
        bin.confidence += confidence;
        bin.right += u64::from(right);
    }
    let edge = |bin: usize| bin as f64 / bins as f64;
    let bins: Vec<CalibrationBin> =
        sums.iter().enumerate().map(|(bin, sums)| sums.finish(edge(bin), edge(bin + 1))).collect();
    let gaps = bins.iter().filter_map(|bin| Some(bin.count as f64 * (bin.accuracy? - bin.confidence?).abs()));
    Ok(Calibration { expected_error: gaps.sum::<f64>() / confidence.len() as f64, bins })
}

/// Sums over the rows of a bin.
#[derive(Clone, Copy, Default)]
struct BinSums {
    count: u64,
    confidence: f64,
    right: u64,
}

impl BinSums {
    fn finish(self, low: f64, high: f64) -> CalibrationBin {
        let mean = |sum: f64| (self.count > 0).then(|| sum / self.count as f64);
        let (confidence, accuracy) = (mean(self.confidence), mean(self.right as f64));
        CalibrationBin { low, high, count: self.count, confidence, accuracy }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_and_error_match_those_computed_by_hand() {
        // Bins of a quarter: 0.5 is the lower end of the third, 1 belongs to the last, and the second is empty.
        let found =
            calibration(&[0.0, 0.5, 0.625, 0.75, 1.0], &[false, true, false, true, true], 4).expect("good input");
        let bin = |low, high, count, confidence, accuracy| CalibrationBin { low, high, count, confidence, accuracy };
        let expected = [
            bin(0.0, 0.25, 1, Some(0.0), Some(0.0)),
            bin(0.25, 0.5, 0, None, None),
            bin(0.5, 0.75, 2, Some(0.5625), Some(0.5)),
            bin(0.75, 1.0, 2, Some(0.875), Some(1.0)),
        ];
        assert_eq!(found.bins, expected);
        // (1·0 + 2·0.0625 + 2·0.125) / 5
        assert!((found.expected_error - 0.075).abs() < 1e-15);
    }

    #[test]
    fn bad_input_is_refused() {
        let refused = |confidence: &[f64], right: &[bool], bins| {
            calibration(confidence, right, bins).expect_err("bad input").to_string()
        };
        assert_eq!(refused(&[0.5], &[true], 0), "the number of bins is 0, expected at least 1");
        assert_eq!(refused(&[0.5], &[], 10), "confidence has 1 entries but right has 0, expected the same number");
        assert_eq!(refused(&[], &[], 10), "confidence has no entry, expected at least one");
        assert_eq!(refused(&[1.01], &[true], 10), "entry 0 of confidence is 1.01, expected a number from 0 to 1");
        assert_eq!(refused(&[f64::NAN], &[true], 10), "entry 0 of confidence is NaN, expected a number from 0 to 1");
    }

    proptest! {
        #[test]
        fn every_row_is_in_the_bin_of_its_confidence(
            rows in prop::collection::vec((0.0..=1.0f64, any::<bool>()), 1..50), bins in 1usize..20
        ) {
            let (confidence, right): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
            let found = calibration(&confidence, &right, bins).expect("good input");
            prop_assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<u64>(), rows.len() as u64);
            for bin in &found.bins {
                let mean = bin.confidence.unwrap_or(bin.low);
                prop_assert!(bin.low - 1e-12 <= mean && mean <= bin.high + 1e-12);
            }
            prop_assert!((0.0..=1.0).contains(&found.expected_error));
        }

        #[test]
        fn one_bin_is_the_difference_of_the_means(rows in prop::collection::vec((0.0..=1.0f64, any::<bool>()), 1..50)) {
            let (confidence, right): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
            let n = rows.len() as f64;
            let accuracy = right.iter().filter(|&&right| right).count() as f64 / n;
            let found = calibration(&confidence, &right, 1).expect("good input");
            prop_assert!((found.expected_error - (accuracy - confidence.iter().sum::<f64>() / n).abs()).abs() < 1e-12);
        }
    }
}
