//! Area under the ROC curve of one list.

use crate::RankedList;

impl RankedList {
    /// Returns AUC: the share of (relevant, other) pairs in which the relevant candidate has the higher score; a tie counts ½.
    ///
    /// AUC = (#{s⁺ > s⁻} + ½·#{s⁺ = s⁻}) / (n⁺·n⁻). Pairs are counted in integers, so only the final division rounds.
    /// Every relevance above 0 counts the same. Returns `None` if one of the two classes is absent.
    ///
    /// ```
    /// let list = nb_eval::RankedList::new(&[1, 0, 0, 1], &[0.5, 0.5, 0.1, 0.9])?;
    /// assert_eq!(list.auc(), Some(3.5 / 4.0));
    /// # Ok::<(), nb_eval::Error>(())
    /// ```
    #[must_use]
    pub fn auc(&self) -> Option<f64> {
        let n_relevant = self.n_relevant() as u128;
        let n_others = self.len() as u128 - n_relevant;
        if n_relevant == 0 || n_others == 0 {
            return None;
        }
        // From the top down, each relevant candidate scores a win against every irrelevant candidate below it, and half
        // a win against those of the same score. Wins are counted in halves.
        let mut half_wins = 0;
        let mut others_below = n_others;
        for tie in self.ties() {
            let relevant = tie.iter().filter(|entry| entry.relevance > 0).count() as u128;
            let others = tie.len() as u128 - relevant;
            others_below -= others;
            half_wins += relevant * (2 * others_below + others);
        }
        Some(half_wins as f64 / (2 * n_relevant * n_others) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::RankedList;

    fn auc(relevance: &[u8], scores: &[f64]) -> Option<f64> {
        RankedList::new(relevance, scores).unwrap().auc()
    }

    /// Candidates of both classes, with scores coarse enough to tie.
    fn candidates() -> impl Strategy<Value = (Vec<u8>, Vec<f64>)> {
        prop::collection::vec((0u8..2, -8i8..8), 2..50)
            .prop_filter("both classes", |rows| rows.iter().any(|row| row.0 == 0) && rows.iter().any(|row| row.0 == 1))
            .prop_map(|rows| rows.into_iter().map(|(relevance, score)| (relevance, f64::from(score))).unzip())
    }

    #[test]
    fn equal_scores_give_one_half_and_one_class_gives_none() {
        assert_eq!(auc(&[1, 0, 1, 0, 0], &[1.0; 5]), Some(0.5));
        assert_eq!(auc(&[1, 1], &[0.1, 0.2]), None);
        assert_eq!(auc(&[0, 0], &[0.1, 0.2]), None);
    }

    proptest! {
        #[test]
        fn equals_the_count_over_all_pairs((relevance, scores) in candidates()) {
            let (mut wins, mut pairs) = (0.0, 0.0);
            for i in 0..scores.len() {
                for j in 0..scores.len() {
                    if relevance[i] == 1 && relevance[j] == 0 {
                        pairs += 1.0;
                        wins += if scores[i] > scores[j] { 1.0 } else if scores[i] == scores[j] { 0.5 } else { 0.0 };
                    }
                }
            }
            prop_assert_eq!(auc(&relevance, &scores), Some(wins / pairs));
        }

        #[test]
        fn an_increasing_map_of_the_scores_changes_nothing((relevance, scores) in candidates()) {
            let mapped: Vec<f64> = scores.iter().map(|score| 3.0 * score.exp() - 5.0).collect();
            prop_assert_eq!(auc(&relevance, &mapped), auc(&relevance, &scores));
        }

        #[test]
        fn reversed_scores_give_the_complement((relevance, scores) in candidates()) {
            let reversed: Vec<f64> = scores.iter().map(|score| -score).collect();
            let sum = auc(&relevance, &scores).unwrap() + auc(&relevance, &reversed).unwrap();
            prop_assert!((sum - 1.0).abs() < 1e-12);
        }
    }
}
