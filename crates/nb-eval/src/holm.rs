//! Several tests at once: p-values adjusted for the number of tests.

use crate::Error;
use crate::error::all_probabilities;

/// Returns Holm's step-down adjusted p-values, in the order given.
///
/// With m p-values in ascending order p₍₁₎ ≤ … ≤ p₍ₘ₎,
///
/// ```text
/// adjusted₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1) · p₍ⱼ₎)
/// ```
///
/// Rejecting every null hypothesis whose adjusted p-value is at most α keeps the probability of *any* false rejection
/// at or below α, however the tests depend on each other (Holm 1979, "A simple sequentially rejective multiple test
/// procedure"). An adjusted value is never smaller than the p-value itself and never larger than Bonferroni's m·p;
/// equal p-values stay equal, and the order of unequal ones does not reverse. An empty list gives an empty list.
///
/// # Errors
/// A value that is NaN or not between 0 and 1.
///
/// ```
/// // 3 · 0.01, then 2 · 0.02 and 1 · 0.03, which may not fall below it.
/// assert_eq!(nb_eval::holm(&[0.03, 0.01, 0.02])?, [0.04, 0.03, 0.04]);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn holm(p: &[f64]) -> Result<Vec<f64>, Error> {
    all_probabilities("p", p)?;
    let mut ascending: Vec<usize> = (0..p.len()).collect();
    ascending.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in ascending.into_iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[index]).min(1.0);
        adjusted[index] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        // Ascending 0.01 0.02 0.02 0.04 0.3: 5·0.01 = 0.05, 4·0.02 = 0.08, 3·0.02 = 0.06 → 0.08, 2·0.04 = 0.08, 0.3.
        assert_eq!(holm(&[0.02, 0.3, 0.01, 0.04, 0.02]).unwrap(), [0.08, 0.3, 0.05, 0.08, 0.08]);
        assert_eq!(holm(&[0.5, 0.9]).unwrap(), [1.0, 1.0]);
        assert_eq!(holm(&[0.04]).unwrap(), [0.04]);
        assert_eq!(holm(&[0.0, 1.0]).unwrap(), [0.0, 1.0]);
        assert!(holm(&[]).unwrap().is_empty());
    }

    #[test]
    fn values_that_are_not_probabilities_are_refused() {
        let refused = |p: &[f64]| holm(p).unwrap_err().to_string();
        assert_eq!(refused(&[0.1, f64::NAN]), "entry 1 of p is NaN, expected a number from 0 to 1");
        assert_eq!(refused(&[1.5]), "entry 0 of p is 1.5, expected a number from 0 to 1");
        assert_eq!(refused(&[-0.1]), "entry 0 of p is -0.1, expected a number from 0 to 1");
    }

    /// The procedure as Holm states it: walk up the ordered p-values while p₍ⱼ₎ ≤ α / (m − j + 1), and reject those
    /// passed.
    fn rejected_at(alpha: f64, p: &[f64]) -> Vec<bool> {
        let mut ordered = p.to_vec();
        ordered.sort_by(f64::total_cmp);
        let passed = ordered.iter().enumerate().take_while(|(j, p)| **p * (ordered.len() - j) as f64 <= alpha);
        let last = passed.last().map_or(f64::NEG_INFINITY, |(_, p)| *p);
        p.iter().map(|&p| p <= last).collect()
    }

    proptest! {
        // Hundredths, so that ties are common.
        #[test]
        fn equals_the_definition(p in prop::collection::vec((0u32..=100).prop_map(|p| f64::from(p) / 100.0), 0..12)) {
            let adjusted = holm(&p).unwrap();
            for (i, &at) in adjusted.iter().enumerate() {
                // Among equal p-values, the first in order has the largest factor: the number of p-values that are not
                // smaller.
                let not_smaller = |value: f64| p.iter().filter(|&&other| other >= value).count() as f64;
                let steps = p.iter().filter(|&&other| other <= p[i]).map(|&other| (not_smaller(other) * other).min(1.0));
                prop_assert_eq!(at, steps.fold(0.0, f64::max));
                prop_assert!(p[i] <= at && at <= 1.0);
            }
        }

        #[test]
        fn rejects_what_the_procedure_rejects(p in prop::collection::vec(0.0..0.2f64, 1..12), alpha in 0.001..0.5f64) {
            let by_value: Vec<bool> = holm(&p).unwrap().iter().map(|&adjusted| adjusted <= alpha).collect();
            prop_assert_eq!(by_value, rejected_at(alpha, &p));
        }
    }
}
