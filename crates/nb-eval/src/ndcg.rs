//! Normalised discounted cumulative gain of one list.

use crate::RankedList;

impl RankedList {
    /// Returns nDCG@k: the DCG over the first `k` places divided by the DCG of the best possible order.
    ///
    /// DCG@k = Σ_{rank ≤ k} (2^y − 1) / log2(rank + 1), where y is the relevance and ranks start at 1. Returns `None`
    /// if nothing is relevant or `k` is 0.
    ///
    /// ```
    /// let list = nb_eval::RankedList::new(&[0, 1], &[2.0, 1.0])?;
    /// assert_eq!(list.ndcg(5), Some(1.0 / 3f64.log2()));
    /// assert_eq!(list.ndcg(1), Some(0.0));
    /// # Ok::<(), nb_eval::Error>(())
    /// ```
    #[must_use]
    pub fn ndcg(&self, k: usize) -> Option<f64> {
        let gain = |relevance: u8| f64::from(relevance).exp2() - 1.0;
        let ideal = discounted(best_first(self.relevance()).into_iter().map(gain), k);
        (ideal > 0.0).then(|| discounted(self.relevance().map(gain), k) / ideal)
    }
}

/// The relevances above 0, in the best possible order.
pub(crate) fn best_first<T: Ord + Default>(relevance: impl Iterator<Item = T>) -> Vec<T> {
    let mut best: Vec<T> = relevance.filter(|relevance| *relevance > T::default()).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    best
}

/// The sum of the first `k` gains, each divided by log2(rank + 1).
pub(crate) fn discounted(gains: impl Iterator<Item = f64>, k: usize) -> f64 {
    gains.take(k).enumerate().map(|(place, gain)| gain / ((place + 2) as f64).log2()).fold(0.0, |sum, gain| sum + gain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::RankedList;

    fn ndcg(relevance: &[u8], scores: &[f64], k: usize) -> Option<f64> {
        RankedList::new(relevance, scores).unwrap().ndcg(k)
    }

    #[test]
    fn graded_relevance_by_hand() {
        // Ranked relevance 1, 0, 3: DCG = 1 + 7/log2(4) = 4.5; best order 3, 1, 0: 7 + 1/log2(3).
        let found = ndcg(&[3, 1, 0], &[0.1, 0.9, 0.5], 10).unwrap();
        assert!((found - 4.5 / (7.0 + 1.0 / 3f64.log2())).abs() < 1e-15);
    }

    #[test]
    fn nothing_relevant_or_no_place_is_none() {
        assert_eq!(ndcg(&[0, 0], &[1.0, 2.0], 5), None);
        assert_eq!(ndcg(&[0, 1], &[1.0, 2.0], 0), None);
    }

    #[test]
    fn equal_scores_keep_the_order_of_the_impression() {
        assert_eq!(ndcg(&[0, 1], &[0.5, 0.5], 1), Some(0.0));
        assert_eq!(ndcg(&[1, 0], &[0.5, 0.5], 1), Some(1.0));
    }

    proptest! {
        #[test]
        fn is_between_0_and_1_and_1_in_the_best_order(
            relevance in prop::collection::vec(0u8..4, 1..30), noise in prop::collection::vec(-1.0f64..1.0, 30), k in 1usize..12,
        ) {
            prop_assume!(relevance.iter().any(|&y| y > 0));
            let value = ndcg(&relevance, &noise[..relevance.len()], k).unwrap();
            prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
            let perfect: Vec<f64> = relevance.iter().map(|&y| f64::from(y)).collect();
            let list = RankedList::new(&relevance, &perfect).unwrap();
            prop_assert!((list.ndcg(k).unwrap() - 1.0).abs() < 1e-12);
            prop_assert!(list.auc().is_none_or(|auc| auc == 1.0));
            // All relevant candidates come first, so enough places include them all.
            prop_assert_eq!(list.recall_at(relevance.len()), Some(1.0));
        }
    }
}
