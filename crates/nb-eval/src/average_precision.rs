//! Average precision: how far up a ranking its relevant entries are.

use crate::Error;
use crate::error::same_length;

/// Returns the average precision of scores: Σ_n (R_n − R_{n−1})·P_n over the distinct scores in descending order, where P_n and R_n are
/// precision and recall of the entries with at least the n-th score.
///
/// This is `average_precision_score` of scikit-learn: the area under the steps of the precision-recall curve, without
/// interpolation. Equal scores are one step, so their order has no effect. `None` if no entry is relevant.
///
/// # Errors
/// If the lists have different lengths, or if a score is NaN.
///
/// ```
/// // The relevant entries are on ranks 1 and 3: (1/1 + 2/3) / 2.
/// let precision = nb_eval::average_precision(&[0.9, 0.8, 0.7, 0.1], &[true, false, true, false])?;
/// assert!((precision.unwrap() - 5.0 / 6.0).abs() < 1e-12);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn average_precision(scores: &[f64], relevant: &[bool]) -> Result<Option<f64>, Error> {
    let all = relevant.iter().filter(|&&relevant| relevant).count();
    let steps = steps(scores, relevant)?;
    let gained = steps.iter().scan(0, |before, step| {
        let gained = step.relevant - std::mem::replace(before, step.relevant);
        Some(gained as f64 * step.relevant as f64 / step.entries as f64)
    });
    Ok((all > 0).then(|| gained.sum::<f64>() / all as f64))
}

/// The entries with at least a certain score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    /// The score.
    pub(crate) score: f64,
    /// The number of entries.
    pub(crate) entries: usize,
    /// The number of relevant ones among them.
    pub(crate) relevant: usize,
}

/// Returns a step for each distinct score, in descending order of the scores.
pub(crate) fn steps(scores: &[f64], relevant: &[bool]) -> Result<Vec<Step>, Error> {
    same_length("scores", scores.len(), "relevance", relevant.len())?;
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::NanScore { index });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut steps: Vec<Step> = Vec::new();
    for (rank, &entry) in order.iter().enumerate() {
        let before = steps.last().map_or(0, |step| step.relevant);
        let step = Step { score: scores[entry], entries: rank + 1, relevant: before + usize::from(relevant[entry]) };
        match steps.last_mut() {
            Some(last) if last.score == step.score => *last = step,
            _ => steps.push(step),
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_scores_are_one_step() {
        let precision = |scores: &[f64], relevant: &[bool]| average_precision(scores, relevant).unwrap().unwrap();
        assert_eq!(precision(&[0.5, 0.5, 0.5, 0.5], &[true, false, false, false]), 0.25);
        assert_eq!(precision(&[0.5, 0.5, 0.5, 0.5], &[false, false, false, true]), 0.25);
        assert_eq!(precision(&[0.0, -0.0], &[false, true]), 0.5);
    }

    #[test]
    fn without_a_relevant_entry_there_is_none() {
        assert_eq!(average_precision(&[0.1, 0.2], &[false, false]), Ok(None));
        assert_eq!(average_precision(&[], &[]), Ok(None));
    }

    #[test]
    fn bad_lists_are_refused() {
        let message = average_precision(&[0.1], &[]).unwrap_err().to_string();
        assert_eq!(message, "scores has 1 entries but relevance has 0, expected the same number");
        assert_eq!(average_precision(&[0.1, f64::NAN], &[true, true]), Err(Error::NanScore { index: 1 }));
    }

    proptest! {
        /// Without ties, average precision is the mean of the precisions at the ranks of the relevant entries.
        #[test]
        fn is_the_mean_precision_at_relevant_ranks(relevant in prop::collection::vec(any::<bool>(), 1..40)) {
            let scores: Vec<f64> = (0..relevant.len()).map(|rank| -(rank as f64)).collect();
            let ranks: Vec<usize> = (1..=relevant.len()).filter(|rank| relevant[rank - 1]).collect();
            let precisions = ranks.iter().enumerate().map(|(before, &rank)| (before + 1) as f64 / rank as f64);
            let expected = (!ranks.is_empty()).then(|| precisions.sum::<f64>() / ranks.len() as f64);
            let found = average_precision(&scores, &relevant).unwrap();
            prop_assert_eq!(found.is_some(), expected.is_some());
            prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12);
        }
    }
}
