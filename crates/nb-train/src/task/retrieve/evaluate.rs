//! Metrics of searches.

use anyhow::{Result, bail};
use nb_data::beir::Judged;
use nb_eval::{Gain, QueryMetrics, Retrieved, query_metrics};
use rayon::prelude::*;

use super::Hit;
use crate::task::evaluation::{Evaluation, Metric, Outcomes};

/// Documents that a search must find for the metrics.
pub const DEPTH: usize = 100;

/// Names for reports, and the number in a query's metrics.
type Kind = (&'static str, fn(&QueryMetrics) -> f64);
const KINDS: [Kind; 4] = [
    ("ndcg@10", |m| m.ndcg10),
    ("mrr@10", |m| m.mrr10),
    ("recall@10", |m| m.recall10),
    ("recall@100", |m| m.recall100),
];

/// The set of judgements and queries that an evaluation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judging {
    /// All, as in trec_eval and BEIR: a relevant document that the corpus lacks counts as not found, a query without a
    /// relevant document as 0. nDCG has linear gain.
    All,
    /// Only documents of the corpus, and only queries that have a relevant one among them. nDCG has gain 2^y − 1. No
    /// published figure is computed in this way; it says how well a model ranks what it can find.
    Known,
}

impl Judging {
    fn gain(self) -> Gain {
        match self {
            Self::All => Gain::Linear,
            Self::Known => Gain::Exponential,
        }
    }
}

/// nDCG@10, MRR@10, recall@10 and recall@100 with intervals over queries; `hits[i]` are the best [`DEPTH`] documents of
/// the whole corpus for `queries[i]`, without one of the query's own id.
///
/// # Errors
/// If no query counts.
pub fn evaluate_hits(queries: &[&Judged], hits: &[Vec<Hit>], judging: Judging) -> Result<Evaluation> {
    let each: Vec<Option<QueryMetrics>> =
        queries.par_iter().zip(hits).map(|(judged, hits)| one(judged, hits, judging)).collect();
    let known: Vec<QueryMetrics> = each.iter().flatten().copied().collect();
    let rows = (0..).zip(&each).filter(|(_, metrics)| metrics.is_some()).map(|(i, _)| i).collect();
    if known.is_empty() {
        bail!("none of {} queries has a relevant document in the corpus, expected at least one", queries.len());
    }
    let mean = |(name, value): &Kind| Metric::mean(name, &known.iter().map(value).collect::<Vec<f64>>());
    let metrics = KINDS.iter().map(mean).collect::<Result<_>>()?;
    let values = KINDS.iter().map(|(name, value)| ((*name).into(), known.iter().map(value).collect())).collect();
    let outcomes = Outcomes { rows, values, classes: None };
    let unit = "queries".into();
    let (missing, none_relevant) = counts(queries);
    let missing = ("relevant documents that the corpus lacks".into(), missing);
    let none_relevant = ("queries without a relevant document in the corpus".into(), none_relevant);
    let told = [missing, none_relevant].into_iter().filter(|(_, n)| *n > 0).collect();
    let (counted, skipped) = match judging {
        Judging::All => (told, Vec::new()),
        Judging::Known => (Vec::new(), told),
    };
    Ok(Evaluation { rows: known.len(), unit, metrics, outcomes, counted, skipped, ..Evaluation::default() })
}

/// Relevant documents that the corpus lacks, and queries without a relevant document in it.
fn counts(queries: &[&Judged]) -> (u64, u64) {
    let missing = queries.iter().map(|judged| judged.missing.len() as u64).sum();
    let none_relevant = queries.iter().filter(|judged| judged.relevant.is_empty()).count() as u64;
    (missing, none_relevant)
}

fn one(judged: &Judged, hits: &[Hit], judging: Judging) -> Option<QueryMetrics> {
    let grade = |hit: &Hit| judged.relevant.iter().find(|(row, _)| *row == hit.row).map_or(0, |(_, grade)| *grade);
    let retrieved: Vec<u32> = hits.iter().map(grade).collect();
    let mut relevant: Vec<u32> = judged.relevant.iter().map(|(_, grade)| *grade).collect();
    if judging == Judging::All {
        relevant.extend(&judged.missing);
    }
    let metrics = query_metrics(&Retrieved { retrieved: &retrieved, relevant: &relevant }, judging.gain());
    match judging {
        Judging::All => Some(metrics.unwrap_or_default()),
        Judging::Known => metrics,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nb_data::{IdIndex, Repeated};
    use proptest::prelude::*;

    use super::super::{Asked, Documents, TopHits};
    use super::*;

    /// A corpus with repeated ids, queries of which some have a document's id, scores with ties, and judgements.
    #[derive(Debug)]
    struct Case {
        corpus: Vec<String>,
        queries: Vec<String>,
        /// By query and row of the corpus.
        scores: Vec<Vec<f32>>,
        /// By query: ids and grades, known documents or not.
        grades: Vec<BTreeMap<String, u32>>,
    }

    fn case() -> impl Strategy<Value = Case> {
        let id = || prop_oneof!["[0-9]{1,3}", "[a-c]{1,2}", "é[0-2]"];
        let ids = prop_oneof![prop::collection::vec(id(), 1..30), prop::collection::vec(id(), 120..250)];
        (ids, 1_usize..5).prop_flat_map(move |(corpus, n)| {
            let known = prop::sample::select(corpus.clone());
            let query = prop_oneof![known.clone(), "q[0-9]"];
            let row = prop::collection::vec(-2_i8..3, corpus.len());
            let fine = prop::collection::vec(prop_oneof![Just(0.0_f32), Just(0.25), Just(1e-3)], corpus.len());
            let scores =
                (row, fine).prop_map(|(row, fine)| row.iter().zip(fine).map(|(&a, b)| f32::from(a) + b).collect());
            let grades = prop::collection::btree_map(prop_oneof![3 => known, 1 => "lost[0-9]"], 0_u32..4, 1..15);
            let of_each = (prop::collection::vec(scores, n), prop::collection::vec(grades, n));
            (Just(corpus), prop::collection::vec(query, n), of_each)
                .prop_map(|(corpus, queries, (scores, grades))| Case { corpus, queries, scores, grades })
        })
    }

    /// The values of each query, in the order of `KINDS`, by sorting everything and by the definitions.
    fn slow(case: &Case, query: usize) -> [f64; 4] {
        let mut found: BTreeMap<&str, f32> =
            case.corpus.iter().map(String::as_str).zip(case.scores[query].clone()).collect();
        found.remove(case.queries[query].as_str());
        let mut order: Vec<(&str, f32)> = found.into_iter().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(a.0)));
        let judged = &case.grades[query];
        let grades: Vec<u32> = order.iter().map(|(id, _)| judged.get(*id).copied().unwrap_or(0)).collect();
        let mut ideal: Vec<u32> = judged.values().copied().collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        let relevant = ideal.iter().filter(|grade| **grade > 0).count();
        if relevant == 0 {
            return [0.0; 4];
        }
        let gain = |grades: &[u32]| {
            (1..)
                .zip(grades)
                .take(10)
                .map(|(rank, &y)| f64::from(y) * 2f64.ln() / f64::from(rank + 1).ln())
                .sum::<f64>()
        };
        let within = |k: usize| grades.iter().take(k).filter(|grade| **grade > 0).count() as f64 / relevant as f64;
        let first = (1..=10).zip(&grades).find(|(_, grade)| **grade > 0).map_or(0.0, |(rank, _)| 1.0 / f64::from(rank));
        [gain(&grades) / gain(&ideal), first, within(10), within(100)]
    }

    fn fast(case: &Case) -> Evaluation {
        let ids: Vec<Option<&str>> = case.corpus.iter().map(|id| Some(id.as_str())).collect();
        let documents = Documents::new(Repeated::Last, &ids);
        let index: &IdIndex = documents.index();
        let judged = |(query, grades): (u32, &BTreeMap<String, u32>)| {
            let mut judged = Judged { query, ..Judged::default() };
            for (id, &grade) in grades {
                match (index.row(id.as_bytes()), grade) {
                    (Some(row), 0) => judged.negatives.push(row),
                    (Some(row), grade) => judged.relevant.push((row, grade)),
                    (None, grade) => judged.missing.extend((grade > 0).then_some(grade)),
                }
            }
            judged
        };
        let judged: Vec<Judged> = (0..).zip(&case.grades).map(judged).collect();
        let own = case.queries.iter().map(|id| index.row(id.as_bytes())).collect();
        // Query i is the i-th unit vector, a document the column of its scores.
        let n = case.queries.len();
        let vectors = (0..n * n).map(|i| f32::from(u8::from(i % (n + 1) == 0))).collect();
        let news: Vec<f32> = (0..ids.len()).flat_map(|row| case.scores.iter().map(move |scores| scores[row])).collect();
        let mut hits = TopHits::new(Asked { vectors, hidden: n, own }, documents.clone().into(), DEPTH);
        let rows: Vec<u32> = (0..ids.len() as u32).collect();
        for (rows, vectors) in rows.chunks(50).zip(news.chunks(50 * n)) {
            hits.add(rows, vectors).unwrap();
        }
        evaluate_hits(&judged.iter().collect::<Vec<_>>(), &hits.finish(), Judging::All).unwrap()
    }

    proptest! {
        #[test]
        fn blocks_and_heaps_measure_what_sorting_everything_does(case in case()) {
            let found = fast(&case);
            prop_assert_eq!(found.rows, case.queries.len());
            for query in 0..case.queries.len() {
                let expected = slow(&case, query);
                for ((name, values), expected) in found.outcomes.values.iter().zip(expected) {
                    prop_assert!((values[query] - expected).abs() < 1e-12, "query {query}: {name} {}, expected {expected}", values[query]);
                }
            }
        }
    }
}
