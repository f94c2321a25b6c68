//! Recommendation: metrics of single impressions and their plain means.

use rayon::prelude::*;

use crate::{Error, RankedList};

/// The candidates that were shown together to a reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impression<'a> {
    /// 1 where the candidate was clicked, 0 where not; in the order shown.
    pub labels: &'a [u8],
    /// The model's score of each candidate.
    pub scores: &'a [f64],
}

/// The metrics of an impression that has both clicked and unclicked articles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImpressionMetrics {
    /// [`RankedList::auc`].
    pub auc: f64,
    /// [`RankedList::mrr`].
    pub mrr: f64,
    /// [`RankedList::ndcg`] at 5.
    pub ndcg5: f64,
    /// [`RankedList::ndcg`] at 10.
    pub ndcg10: f64,
}

/// Plain means over the impressions that have both clicked and unclicked articles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Mean AUC.
    pub auc: f64,
    /// Mean MRR.
    pub mrr: f64,
    /// Mean nDCG@5.
    pub ndcg5: f64,
    /// Mean nDCG@10.
    pub ndcg10: f64,
    /// Number of impressions in the means.
    pub impressions: usize,
    /// Number of impressions that were skipped because all of their articles were clicked, or none.
    pub skipped: usize,
}

/// Returns the mean AUC, MRR, nDCG@5 and nDCG@10; each impression has the same weight.
///
/// Impressions with only one class are skipped and counted. The function runs on all cores. The sums are taken in the
/// order of the impressions, so the result does not depend on the number of threads.
///
/// # Errors
/// If an impression has lists of different lengths or a NaN among its scores; the error names the position of the first
/// one. If no impression has both classes.
///
/// ```
/// use nb_eval::{Impression, ranking};
///
/// let result = ranking(&[
///     Impression { labels: &[1, 0, 0], scores: &[0.9, 0.2, 0.1] },
///     Impression { labels: &[0, 1], scores: &[0.9, 0.2] },
///     Impression { labels: &[0, 0], scores: &[0.9, 0.2] },
/// ])?;
/// assert_eq!((result.impressions, result.skipped), (2, 1));
/// assert_eq!((result.auc, result.mrr), (0.5, 0.75));
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn ranking(impressions: &[Impression<'_>]) -> Result<Ranking, Error> {
    let each = each_impression(impressions)?;
    let (mut auc, mut mrr, mut ndcg5, mut ndcg10) = (0.0, 0.0, 0.0, 0.0);
    let mut n = 0;
    for metrics in each.iter().flatten() {
        auc += metrics.auc;
        mrr += metrics.mrr;
        ndcg5 += metrics.ndcg5;
        ndcg10 += metrics.ndcg10;
        n += 1;
    }
    let skipped = each.len() - n;
    if n == 0 {
        return Err(Error::OneClassOnly { skipped });
    }
    let mean = |sum: f64| sum / n as f64;
    let (auc, mrr, ndcg5, ndcg10) = (mean(auc), mean(mrr), mean(ndcg5), mean(ndcg10));
    Ok(Ranking { auc, mrr, ndcg5, ndcg10, impressions: n, skipped })
}

/// Returns the values behind the means of [`ranking`], in the order of the impressions; intervals and paired tests need
/// them. The value is `None` for an impression with only one class.
///
/// # Errors
/// If an impression has lists of different lengths or a NaN among its scores; the error names the position of the first
/// one.
pub fn each_impression(impressions: &[Impression<'_>]) -> Result<Vec<Option<ImpressionMetrics>>, Error> {
    // Errors are collected in order, so the message names the first bad impression, whichever thread finds one first.
    let each: Vec<_> = impressions.par_iter().map(metrics_of).collect();
    let named = |(index, result): (usize, Result<_, Error>)| {
        result.map_err(|source| Error::Impression { index, source: Box::new(source) })
    };
    each.into_iter().enumerate().map(named).collect()
}

fn metrics_of(impression: &Impression<'_>) -> Result<Option<ImpressionMetrics>, Error> {
    let list = RankedList::new(impression.labels, impression.scores)?;
    // Without both classes there is no AUC; with both, there are all four.
    let (Some(auc), Some(mrr)) = (list.auc(), list.mrr()) else { return Ok(None) };
    let (Some(ndcg5), Some(ndcg10)) = (list.ndcg(5), list.ndcg(10)) else { return Ok(None) };
    Ok(Some(ImpressionMetrics { auc, mrr, ndcg5, ndcg10 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impressions_of_one_class_are_skipped_and_counted() {
        let scores = [0.3, 0.2];
        let impression = |labels| Impression { labels, scores: &scores };
        let result = ranking(&[impression(&[0, 0]), impression(&[1, 0]), impression(&[1, 1])]).unwrap();
        assert_eq!(result, Ranking { auc: 1.0, mrr: 1.0, ndcg5: 1.0, ndcg10: 1.0, impressions: 1, skipped: 2 });
        let each = each_impression(&[impression(&[0, 0]), impression(&[0, 1])]).unwrap();
        assert_eq!((each[0], each[1].unwrap().mrr), (None, 0.5));
    }

    #[test]
    fn no_impression_to_average_is_an_error() {
        assert_eq!(ranking(&[]), Err(Error::OneClassOnly { skipped: 0 }));
        let error = ranking(&[Impression { labels: &[0], scores: &[1.0] }]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "none of 1 impressions has both clicked and unclicked articles, expected at least one"
        );
    }

    #[test]
    fn the_first_bad_impression_is_named() {
        let good = Impression { labels: &[0, 1], scores: &[0.1, 0.2] };
        let bad = Impression { labels: &[0, 1], scores: &[0.1, f64::NAN] };
        let mut impressions = vec![good; 500];
        impressions[321] = bad;
        impressions[400] = bad;
        let error = ranking(&impressions).unwrap_err();
        assert_eq!(error.to_string(), "impression 321");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "score 1 is NaN, expected a number");
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let labels: Vec<u8> = (0..40_000).map(|i| u8::from(i % 7 == 3)).collect();
        let scores: Vec<f64> = (0..40_000).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let impressions: Vec<_> =
            labels.chunks(13).zip(scores.chunks(13)).map(|(labels, scores)| Impression { labels, scores }).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| ranking(&impressions).unwrap())
        };
        let one = on(1);
        assert_eq!(one.auc.to_bits(), on(4).auc.to_bits());
        assert_eq!(one, on(3));
    }
}
