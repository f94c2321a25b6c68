//! Mean reciprocal rank within one list, over all its relevant candidates.

use crate::RankedList;

impl RankedList {
    /// Returns MRR = Σ_i (y_i / rank_i) / Σ_i y_i over all candidates, where y is the relevance.
    ///
    /// This is the "MRR" of MIND's evaluation: the mean over *all* clicked candidates, not the reciprocal rank of the
    /// first. With one relevant candidate the two agree. Returns `None` if nothing is relevant.
    ///
    /// ```
    /// let list = nb_eval::RankedList::new(&[0, 1, 1], &[3.0, 2.0, 1.0])?;
    /// assert_eq!(list.mrr(), Some((1.0 / 2.0 + 1.0 / 3.0) / 2.0));
    /// # Ok::<(), nb_eval::Error>(())
    /// ```
    #[must_use]
    pub fn mrr(&self) -> Option<f64> {
        let (mut reciprocal, mut total) = (0.0, 0.0);
        for (place, relevance) in self.relevance().enumerate() {
            reciprocal += f64::from(relevance) / (place + 1) as f64;
            total += f64::from(relevance);
        }
        (total > 0.0).then(|| reciprocal / total)
    }
}

#[cfg(test)]
mod tests {
    use crate::RankedList;

    fn mrr(relevance: &[u8], scores: &[f64]) -> Option<f64> {
        RankedList::new(relevance, scores).unwrap().mrr()
    }

    #[test]
    fn averages_over_all_relevant_candidates() {
        assert_eq!(mrr(&[1, 0, 0, 1], &[4.0, 3.0, 2.0, 1.0]), Some((1.0 + 0.25) / 2.0));
        assert_eq!(mrr(&[2, 0, 1], &[1.0, 2.0, 3.0]), Some((1.0 + 2.0 / 3.0) / 3.0));
        assert_eq!(mrr(&[0, 0], &[1.0, 2.0]), None);
    }

    #[test]
    fn equal_scores_keep_the_order_of_the_impression() {
        assert_eq!(mrr(&[0, 1], &[0.5, 0.5]), Some(0.5));
        assert_eq!(mrr(&[1, 0], &[0.5, 0.5]), Some(1.0));
    }
}
