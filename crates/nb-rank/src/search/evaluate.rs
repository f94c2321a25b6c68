//! Metrics of searches.

use nb_data::beir::Judged;
use nb_eval::{Gain, QueryMetrics, Retrieved, query_metrics};
use nb_report::record::Outcomes;
use rayon::prelude::*;

use super::top_k::Hit;
use crate::error::RankError;
use crate::measurements::{Count, Measurements, Metric};

/// Documents per query that the metrics need.
pub const EVALUATION_DEPTH: usize = 100;

/// A metric of queries.
struct MetricColumn {
    /// The name in reports.
    name: &'static str,
    /// Reads the value of a query.
    value: fn(&QueryMetrics) -> f64,
}

const METRICS: [MetricColumn; 4] = [
    MetricColumn { name: "ndcg@10", value: |m| m.ndcg10 },
    MetricColumn { name: "mrr@10", value: |m| m.mrr10 },
    MetricColumn { name: "recall@10", value: |m| m.recall10 },
    MetricColumn { name: "recall@100", value: |m| m.recall100 },
];

/// The judgements and queries that an evaluation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JudgementScope {
    /// All of them, as in trec_eval and BEIR: a relevant document that the corpus lacks counts as not found, and a query
    /// without a relevant document counts as 0. nDCG has linear gain.
    All,
    /// Documents of the corpus, and queries with a relevant document in it. nDCG has gain 2^y − 1. No published figure is
    /// computed in this way; it measures how well a model ranks the documents that it can find.
    InCorpus,
}

impl JudgementScope {
    fn gain(self) -> Gain {
        match self {
            Self::All => Gain::Linear,
            Self::InCorpus => Gain::Exponential,
        }
    }
}

/// Computes nDCG@10, MRR@10, recall@10 and recall@100 with intervals over queries. `hits[i]` are the best
/// [`EVALUATION_DEPTH`] documents of the corpus for `queries[i]`, without a document that has the query's id.
///
/// # Errors
/// If no query counts.
pub fn evaluate_hits(queries: &[&Judged], hits: &[Vec<Hit>], scope: JudgementScope) -> Result<Measurements, RankError> {
    let by_query: Vec<Option<QueryMetrics>> =
        queries.par_iter().zip(hits).map(|(judged, hits)| measure(judged, hits, scope)).collect();
    let measured: Vec<QueryMetrics> = by_query.iter().flatten().copied().collect();
    if measured.is_empty() {
        let expected = "queries has a relevant document in the corpus";
        return Err(RankError::NothingToMeasure { found: queries.len(), expected });
    }
    let rows = (0..).zip(&by_query).filter(|(_, metrics)| metrics.is_some()).map(|(i, _)| i).collect();
    let column = |column: &MetricColumn| measured.iter().map(column.value).collect::<Vec<f64>>();
    let values = METRICS.iter().map(|m| (m.name.into(), column(m))).collect();
    let missing = missing_counts(queries);
    let (counted, skipped) = match scope {
        JudgementScope::All => (missing, Vec::new()),
        JudgementScope::InCorpus => (Vec::new(), missing),
    };
    Ok(Measurements {
        rows: measured.len(),
        unit: "queries".into(),
        metrics: METRICS.iter().map(|m| Metric::mean(m.name, &column(m))).collect::<Result<_, RankError>>()?,
        outcomes: Outcomes { rows, values, classes: None },
        counted,
        skipped,
        ..Measurements::default()
    })
}

/// Counts relevant documents that the corpus lacks, and queries without a relevant document in it. Zeros are omitted.
fn missing_counts(queries: &[&Judged]) -> Vec<Count> {
    let missing = queries.iter().map(|judged| judged.missing.len() as u64).sum();
    let none_relevant = queries.iter().filter(|judged| judged.relevant.is_empty()).count() as u64;
    let mut counts = vec![
        Count::new("relevant documents that the corpus lacks", missing),
        Count::new("queries without a relevant document in the corpus", none_relevant),
    ];
    counts.retain(|count| count.count > 0);
    counts
}

/// Computes the metrics of one query, or returns none if the query does not count.
fn measure(judged: &Judged, hits: &[Hit], scope: JudgementScope) -> Option<QueryMetrics> {
    let grade = |hit: &Hit| judged.relevant.iter().find(|(row, _)| *row == hit.row).map_or(0, |(_, grade)| *grade);
    let retrieved: Vec<u32> = hits.iter().map(grade).collect();
    let mut relevant: Vec<u32> = judged.relevant.iter().map(|(_, grade)| *grade).collect();
    if scope == JudgementScope::All {
        relevant.extend(&judged.missing);
    }
    let metrics = query_metrics(&Retrieved { retrieved: &retrieved, relevant: &relevant }, scope.gain());
    match scope {
        JudgementScope::All => Some(metrics.unwrap_or_default()),
        JudgementScope::InCorpus => metrics,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nb_data::{IdIndex, Repeated};
    use proptest::prelude::*;

    use super::super::{CorpusIndex, QueryVectors, TopKSearch};
    use super::*;

    /// A corpus with repeated ids, queries that may have a document's id, scores with ties, and judgements.
    #[derive(Debug)]
    struct Case {
        corpus: Vec<String>,
        queries: Vec<String>,
        /// By query and row of the corpus.
        scores: Vec<Vec<f32>>,
        /// By query: grades by id, of documents inside and outside the corpus.
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
            let lists = (prop::collection::vec(scores, n), prop::collection::vec(grades, n));
            (Just(corpus), prop::collection::vec(query, n), lists)
                .prop_map(|(corpus, queries, (scores, grades))| Case { corpus, queries, scores, grades })
        })
    }

    /// Computes the metrics of a query, in the order of `METRICS`, by sorting all documents and by the definitions.
    fn reference(case: &Case, query: usize) -> [f64; 4] {
        let mut scores: BTreeMap<&str, f32> =
            case.corpus.iter().map(String::as_str).zip(case.scores[query].clone()).collect();
        scores.remove(case.queries[query].as_str());
        let mut order: Vec<(&str, f32)> = scores.into_iter().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(a.0)));
        let judged = &case.grades[query];
        let grades: Vec<u32> = order.iter().map(|(id, _)| judged.get(*id).copied().unwrap_or(0)).collect();
        let mut ideal: Vec<u32> = judged.values().copied().collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        let relevant = ideal.iter().filter(|grade| **grade > 0).count();
        if relevant == 0 {
            return [0.0; 4];
        }
        let discounted = |(rank, &grade): (u32, &u32)| f64::from(grade) * 2f64.ln() / f64::from(rank + 1).ln();
        let gain = |grades: &[u32]| (1..).zip(grades).take(10).map(discounted).sum::<f64>();
        let recall = |k: usize| grades.iter().take(k).filter(|grade| **grade > 0).count() as f64 / relevant as f64;
        let first = (1..=10).zip(&grades).find(|(_, grade)| **grade > 0).map_or(0.0, |(rank, _)| 1.0 / f64::from(rank));
        [gain(&grades) / gain(&ideal), first, recall(10), recall(100)]
    }

    /// Converts the grades of a query into the rows and grades of a judged query.
    fn judged(query: u32, grades: &BTreeMap<String, u32>, ids: &IdIndex) -> Judged {
        let mut judged = Judged { query, ..Judged::default() };
        for (id, &grade) in grades {
            match (ids.row(id.as_bytes()), grade) {
                (Some(row), 0) => judged.negatives.push(row),
                (Some(row), grade) => judged.relevant.push((row, grade)),
                (None, grade) => judged.missing.extend((grade > 0).then_some(grade)),
            }
        }
        judged
    }

    fn evaluate(case: &Case) -> Measurements {
        let ids: Vec<Option<&str>> = case.corpus.iter().map(|id| Some(id.as_str())).collect();
        let index = CorpusIndex::new(Repeated::Last, &ids);
        let judged: Vec<Judged> =
            (0..).zip(&case.grades).map(|(query, grades)| judged(query, grades, index.ids())).collect();
        let same_id = case.queries.iter().map(|id| index.ids().row(id.as_bytes())).collect();
        // Query i is the i-th unit vector, a document the column of its scores.
        let n = case.queries.len();
        let queries = (0..n * n).map(|i| f32::from(u8::from(i % (n + 1) == 0))).collect();
        let documents: Vec<f32> =
            (0..ids.len()).flat_map(|row| case.scores.iter().map(move |scores| scores[row])).collect();
        let queries = QueryVectors { vectors: queries, hidden: n, same_id };
        let mut search = TopKSearch::new(queries, index.clone().into(), EVALUATION_DEPTH);
        let rows: Vec<u32> = (0..ids.len() as u32).collect();
        for (rows, vectors) in rows.chunks(50).zip(documents.chunks(50 * n)) {
            search.add(rows, vectors).unwrap();
        }
        evaluate_hits(&judged.iter().collect::<Vec<_>>(), &search.finish(), JudgementScope::All).unwrap()
    }

    proptest! {
        #[test]
        fn a_search_in_blocks_has_the_same_metrics_as_sorting_all_documents(case in case()) {
            let found = evaluate(&case);
            prop_assert_eq!(found.rows, case.queries.len());
            for query in 0..case.queries.len() {
                let expected = reference(&case, query);
                for ((metric, values), expected) in found.outcomes.values.iter().zip(expected) {
                    let value = values[query];
                    prop_assert!((value - expected).abs() < 1e-12, "query {query}: {metric} {value}, expected {expected}");
                }
            }
        }
    }
}
