//! Retrieval: metrics of a query on a large corpus, where only the top of the ranking is known.
//!
//! Values are those of trec_eval (as `pytrec_eval-terrier` 0.5 computes them, which BEIR 2.2 calls): linear gain, and 0
//! for a query without a relevant document. A test compares the two.
//!
//! [`RankedList`](crate::RankedList) takes the scores of all candidates, and a corpus has too many of them. Here, the
//! relevance judgements supply the relevant documents that were not found.

use crate::ndcg::{best_first, discounted};

/// The gain in nDCG of a document with grade y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// y, as in trec_eval and BEIR (Järvelin and Kekäläinen 2002).
    Linear,
    /// 2^y − 1, as in web search (Burges et al. 2005) and in MIND's script. A grade above 255 counts as 255, which
    /// keeps the sums finite.
    Exponential,
}

impl Gain {
    fn of(self, grade: u32) -> f64 {
        match self {
            Self::Linear => f64::from(grade),
            Self::Exponential => f64::from(grade.min(255)).exp2() - 1.0,
        }
    }
}

/// The top of a query's ranking, and the documents that are relevant to it.
///
/// A grade of 0 means not relevant (or not judged), any other grade relevant. A metric at `k` uses the first `k`
/// places; places beyond the end of `retrieved` count as not relevant. All metrics are `None` if no document is
/// relevant.
///
/// ```
/// use nb_eval::{Gain, Retrieved};
///
/// // Found: a document of grade 1 in the second place. Of the query's two relevant documents, one is missing.
/// let top = Retrieved { retrieved: &[0, 1, 0], relevant: &[1, 1] };
/// assert_eq!(top.recall_at(10), Some(0.5));
/// assert_eq!(top.reciprocal_rank_at(10), Some(0.5));
/// assert_eq!(top.reciprocal_rank_at(1), Some(0.0));
/// assert_eq!(top.ndcg_at(1, Gain::Linear), Some(0.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retrieved<'a> {
    /// Grade of each retrieved document, best place first; each document once.
    pub retrieved: &'a [u32],
    /// Grades of all documents that are relevant to the query, retrieved or not, in any order; zeros do not count.
    pub relevant: &'a [u32],
}

impl Retrieved<'_> {
    /// Returns nDCG@k: Σ_{rank ≤ k} gain(y) / log2(rank + 1), where y is the grade, divided by the same sum for the
    /// best order of *all* relevant documents. With linear gain, this is trec_eval's `ndcg_cut`. Returns `None` if
    /// nothing is relevant or `k` is 0.
    ///
    /// ```
    /// use nb_eval::{Gain, Retrieved};
    /// let top = Retrieved { retrieved: &[1, 2], relevant: &[1, 2] };
    /// let second = 1.0 / 3f64.log2();
    /// assert_eq!(top.ndcg_at(10, Gain::Linear), Some((1.0 + 2.0 * second) / (2.0 + second)));
    /// assert_eq!(top.ndcg_at(10, Gain::Exponential), Some((1.0 + 3.0 * second) / (3.0 + second)));
    /// ```
    #[must_use]
    pub fn ndcg_at(&self, k: usize, gain: Gain) -> Option<f64> {
        let gains = |grades: &mut dyn Iterator<Item = u32>| discounted(grades.map(|grade| gain.of(grade)), k);
        let ideal = gains(&mut best_first(self.relevant.iter().copied()).into_iter());
        (ideal > 0.0).then(|| gains(&mut self.retrieved.iter().copied()) / ideal)
    }

    /// Returns 1 / rank of the first relevant document, or 0 if it is not among the first `k`. The mean over queries is
    /// MRR@k.
    ///
    /// This is trec_eval's `recip_rank`, cut at `k`. BEIR's `mrr` differs in one point: it keeps equal scores in the
    /// order of the results. Unlike [`RankedList::mrr`](crate::RankedList::mrr), which follows MIND and averages over
    /// all relevant candidates, this is MRR as defined in retrieval.
    #[must_use]
    pub fn reciprocal_rank_at(&self, k: usize) -> Option<f64> {
        let place = self.retrieved.iter().take(k).position(|&grade| grade > 0);
        (self.n_relevant() > 0).then(|| place.map_or(0.0, |place| 1.0 / (place + 1) as f64))
    }

    /// Returns recall@k: relevant documents among the first `k` divided by all relevant documents. This is trec_eval's
    /// `recall`.
    #[must_use]
    pub fn recall_at(&self, k: usize) -> Option<f64> {
        let found = self.retrieved.iter().take(k).filter(|&&grade| grade > 0).count();
        let all = self.n_relevant();
        (all > 0).then(|| found as f64 / all as f64)
    }

    /// Returns the number of relevant documents.
    #[must_use]
    pub fn n_relevant(&self) -> usize {
        self.relevant.iter().filter(|&&grade| grade > 0).count()
    }
}

/// The usual metrics of a query, which are reported as plain means over the queries.
///
/// The default is 0 for every metric, as trec_eval counts a query without a relevant document.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct QueryMetrics {
    /// [`Retrieved::ndcg_at`] 10.
    pub ndcg10: f64,
    /// [`Retrieved::reciprocal_rank_at`] 10.
    pub mrr10: f64,
    /// [`Retrieved::recall_at`] 10.
    pub recall10: f64,
    /// [`Retrieved::recall_at`] 100.
    pub recall100: f64,
}

/// Returns the metrics of a query from its best documents (at least 100, or all if there are fewer). Returns `None` if
/// no document is relevant; trec_eval counts such a query as 0, which is the default of [`QueryMetrics`].
///
/// ```
/// use nb_eval::{Gain, QueryMetrics, Retrieved, query_metrics};
///
/// let metrics = query_metrics(&Retrieved { retrieved: &[0, 0, 2, 0], relevant: &[2] }, Gain::Linear);
/// let metrics = metrics.expect("a document is relevant");
/// assert_eq!((metrics.ndcg10, metrics.mrr10, metrics.recall10), (0.5, 1.0 / 3.0, 1.0));
/// let nothing = query_metrics(&Retrieved { retrieved: &[0, 0], relevant: &[] }, Gain::Linear);
/// assert_eq!(nothing.unwrap_or_default(), QueryMetrics { ndcg10: 0.0, mrr10: 0.0, recall10: 0.0, recall100: 0.0 });
/// ```
#[must_use]
pub fn query_metrics(top: &Retrieved<'_>, gain: Gain) -> Option<QueryMetrics> {
    Some(QueryMetrics {
        ndcg10: top.ndcg_at(10, gain)?,
        mrr10: top.reciprocal_rank_at(10)?,
        recall10: top.recall_at(10)?,
        recall100: top.recall_at(100)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::RankedList;

    fn linear(retrieved: &[u32], relevant: &[u32]) -> Option<QueryMetrics> {
        query_metrics(&Retrieved { retrieved, relevant }, Gain::Linear)
    }

    #[test]
    fn the_best_order_is_that_of_all_relevant_documents() {
        // Found: grade 1 in the first place; missing: grade 3. DCG@2 = 1, the best is 3 (or 7) + 1/log2(3).
        let top = Retrieved { retrieved: &[1, 0], relevant: &[1, 3] };
        assert_eq!(top.ndcg_at(2, Gain::Linear), Some(1.0 / (3.0 + 1.0 / 3f64.log2())));
        assert_eq!(top.ndcg_at(1, Gain::Linear), Some(1.0 / 3.0));
        assert_eq!(top.ndcg_at(0, Gain::Linear), None);
        assert_eq!(top.ndcg_at(2, Gain::Exponential), Some(1.0 / (7.0 + 1.0 / 3f64.log2())));
        assert_eq!(top.ndcg_at(1, Gain::Exponential), Some(1.0 / 7.0));
    }

    #[test]
    fn nothing_relevant_is_none_and_nothing_found_is_zero() {
        assert_eq!(linear(&[], &[0, 0]), None);
        let zero = QueryMetrics { ndcg10: 0.0, mrr10: 0.0, recall10: 0.0, recall100: 0.0 };
        assert_eq!(linear(&[], &[1]), Some(zero));
        assert_eq!(linear(&[0; 200], &[1]), Some(zero));
    }

    #[test]
    fn a_document_counts_up_to_the_cutoff_and_no_further() {
        let found_at = |place: usize| {
            let mut retrieved = [0; 101];
            retrieved[place - 1] = 1;
            linear(&retrieved, &[1]).unwrap()
        };
        assert_eq!((found_at(10).mrr10, found_at(11).mrr10), (0.1, 0.0));
        assert_eq!((found_at(10).recall10, found_at(11).recall10), (1.0, 0.0));
        assert_eq!((found_at(100).recall100, found_at(101).recall100), (1.0, 0.0));
        assert_eq!((found_at(10).ndcg10, found_at(11).ndcg10), (1.0 / 11f64.log2(), 0.0));
    }

    proptest! {
        /// The top of a list that is known completely has the metrics of the list.
        #[test]
        fn agrees_with_the_metrics_of_a_complete_list(labels in prop::collection::vec(0u8..4, 1..40), k in 1usize..15) {
            let grades: Vec<u32> = labels.iter().map(|&label| u32::from(label)).collect();
            let falling: Vec<f64> = (0..grades.len()).map(|place| -(place as f64)).collect();
            let list = RankedList::new(&labels, &falling).unwrap();
            let top = Retrieved { retrieved: &grades[..k.min(grades.len())], relevant: &grades };
            prop_assert_eq!(top.ndcg_at(k, Gain::Exponential), list.ndcg(k));
            prop_assert_eq!(top.recall_at(k), list.recall_at(k));
            if list.n_relevant() == 1 && top.recall_at(k) == Some(1.0) {
                let first: Vec<u8> = labels.iter().map(|&label| u8::from(label > 0)).collect();
                prop_assert_eq!(top.reciprocal_rank_at(k), RankedList::new(&first, &falling).unwrap().mrr());
            }
        }

        #[test]
        fn is_between_0_and_1(found in prop::collection::vec(0u32..4, 0..120), missing in prop::collection::vec(0u32..4, 0..5)) {
            let relevant = [found.clone(), missing].concat();
            let Some(metrics) = linear(&found, &relevant) else {
                prop_assert!(relevant.iter().all(|&grade| grade == 0));
                return Ok(());
            };
            for value in [metrics.ndcg10, metrics.mrr10, metrics.recall10, metrics.recall100] {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{metrics:?}");
            }
            prop_assert!(metrics.recall10 <= metrics.recall100);
        }
    }
}
