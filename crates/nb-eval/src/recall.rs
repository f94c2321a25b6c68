//! Recall within the first places of one list.

use crate::RankedList;

impl RankedList {
    /// Returns recall@k: relevant candidates among the first `k` divided by all relevant candidates. Every relevance
    /// above 0 counts the same. Returns `None` if nothing is relevant.
    ///
    /// ```
    /// let list = nb_eval::RankedList::new(&[0, 2, 1, 1], &[4.0, 3.0, 2.0, 1.0])?;
    /// assert_eq!(list.recall_at(2), Some(1.0 / 3.0));
    /// # Ok::<(), nb_eval::Error>(())
    /// ```
    #[must_use]
    pub fn recall_at(&self, k: usize) -> Option<f64> {
        let all = self.n_relevant();
        let found = self.relevance().take(k).filter(|&relevance| relevance > 0).count();
        (all > 0).then(|| found as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::RankedList;

    #[test]
    fn equal_scores_keep_the_order_of_the_list() {
        let list = RankedList::new(&[0, 1], &[0.5, 0.5]).unwrap();
        assert_eq!((list.recall_at(0), list.recall_at(1), list.recall_at(2)), (Some(0.0), Some(0.0), Some(1.0)));
        assert_eq!(RankedList::new(&[0], &[0.5]).unwrap().recall_at(1), None);
    }

    proptest! {
        #[test]
        fn grows_with_k_up_to_1(rows in prop::collection::vec((0u8..2, -3i8..3), 1..30)) {
            let (relevance, scores): (Vec<u8>, Vec<f64>) = rows.into_iter().map(|(y, s)| (y, f64::from(s))).unzip();
            prop_assume!(relevance.contains(&1));
            let list = RankedList::new(&relevance, &scores).unwrap();
            let curve: Vec<f64> = (0..=list.len()).map(|k| list.recall_at(k).unwrap()).collect();
            prop_assert!(curve.is_sorted());
            prop_assert_eq!((curve[0], curve[list.len()]), (0.0, 1.0));
        }
    }
}
