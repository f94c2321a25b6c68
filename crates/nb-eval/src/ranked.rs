//! A list of candidates in the order of its scores, from which every ranking metric starts.

use std::cmp::Ordering;

use crate::Error;
use crate::error::same_length;

/// The candidates of one impression (or the documents of one query), best score first.
///
/// Relevance is graded: 0 is not relevant (not clicked), and any higher grade is relevant. MIND and most click logs use
/// 0 and 1. The list is sorted once; each metric is one pass over it. The metrics are methods: [`auc`](Self::auc),
/// [`mrr`](Self::mrr), [`ndcg`](Self::ndcg), [`recall_at`](Self::recall_at).
///
/// ```
/// use nb_eval::RankedList;
///
/// let list = RankedList::new(&[0, 1, 0, 1], &[0.9, 0.8, 0.1, 0.3])?;
/// assert_eq!(list.auc(), Some(0.5));
/// assert_eq!(list.mrr(), Some((1.0 / 2.0 + 1.0 / 3.0) / 2.0));
/// assert_eq!(list.recall_at(2), Some(0.5));
/// # Ok::<(), nb_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RankedList {
    /// By descending score, equal scores in the order of the input.
    entries: Vec<Entry>,
}

/// A candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    score: f64,
    pub(crate) relevance: u8,
}

impl RankedList {
    /// Sorts candidates by descending score. `relevance[i]` and `scores[i]` belong to the same candidate; infinite scores
    /// are sorted like any other.
    ///
    /// # Errors
    /// If the lists have different lengths, or if a score is NaN. An empty list is not an error: its metrics are
    /// `None`.
    pub fn new(relevance: &[u8], scores: &[f64]) -> Result<Self, Error> {
        same_length("relevance", relevance.len(), "score", scores.len())?;
        refuse_nan(scores)?;
        let mut entries: Vec<Entry> =
            scores.iter().zip(relevance).map(|(&score, &relevance)| Entry { score, relevance }).collect();
        // Stable: equal scores stay in the order of the input.
        entries.sort_by(|a, b| descending(a.score, b.score));
        Ok(Self { entries })
    }

    /// Returns the number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no candidates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of relevant candidates.
    #[must_use]
    pub fn n_relevant(&self) -> usize {
        self.relevance().filter(|&relevance| relevance > 0).count()
    }

    /// Relevance in ranked order.
    pub(crate) fn relevance(&self) -> impl Iterator<Item = u8> + '_ {
        self.entries.iter().map(|entry| entry.relevance)
    }

    /// Runs of equal scores, best first.
    pub(crate) fn ties(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries.chunk_by(|a, b| a.score == b.score)
    }
}

/// Returns the rank of each score: 1 for the highest. Equal scores are ranked in the order of the input, so every rank
/// from 1 to n occurs once, as MIND's `prediction.txt` requires.
///
/// # Errors
/// If a score is NaN.
///
/// ```
/// assert_eq!(nb_eval::ranks(&[0.2, 0.7, 0.2, 0.9])?, [3, 2, 4, 1]);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn ranks(scores: &[f64]) -> Result<Vec<usize>, Error> {
    refuse_nan(scores)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| descending(scores[a], scores[b]));
    let mut ranks = vec![0; scores.len()];
    for (place, candidate) in order.into_iter().enumerate() {
        ranks[candidate] = place + 1;
    }
    Ok(ranks)
}

/// Orders higher scores first; −0 and 0 are equal. NaN is refused before, so this is a total order.
fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

fn refuse_nan(scores: &[f64]) -> Result<(), Error> {
    match scores.iter().position(|score| score.is_nan()) {
        Some(index) => Err(Error::NanScore { index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_scores_keep_their_order() {
        assert_eq!(ranks(&[0.0, 1.0, -0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY]).unwrap(), [4, 2, 5, 3, 6, 1]);
        let list = RankedList::new(&[3, 2, 1, 4], &[1.0, 2.0, 1.0, 2.0]).unwrap();
        assert_eq!(list.relevance().collect::<Vec<_>>(), [2, 4, 3, 1]);
        assert_eq!(list.ties().map(<[_]>::len).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn bad_lists_are_refused() {
        assert_eq!(RankedList::new(&[0, 1], &[0.0, f64::NAN]), Err(Error::NanScore { index: 1 }));
        assert_eq!(ranks(&[f64::NAN]).unwrap_err().to_string(), "score 0 is NaN, expected a number");
        let lengths = RankedList::new(&[0, 1], &[0.0]).unwrap_err();
        assert_eq!(lengths.to_string(), "relevance has 2 entries but score has 1, expected the same number");
    }

    #[test]
    fn an_empty_list_has_no_metric() {
        let list = RankedList::new(&[], &[]).unwrap();
        assert!(list.is_empty());
        assert_eq!((list.auc(), list.mrr(), list.ndcg(5), list.recall_at(5)), (None, None, None, None));
        assert_eq!(ranks(&[]), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn ranks_are_a_permutation_that_follows_the_scores(scores in prop::collection::vec((-3i8..3).prop_map(f64::from), 0..40)) {
            let ranks = ranks(&scores).unwrap();
            let mut sorted = ranks.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(1..=scores.len()));
            for i in 0..scores.len() {
                for j in 0..i {
                    prop_assert_eq!(ranks[j] < ranks[i], scores[j] >= scores[i]);
                }
            }
        }
    }
}
