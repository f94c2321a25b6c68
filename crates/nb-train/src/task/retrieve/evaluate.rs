//! Metrics of searches.

use anyhow::{Result, bail};
use nb_data::beir::Judged;
use nb_eval::{QueryMetrics, query_metrics};
use rayon::prelude::*;

use super::Hit;
use crate::evaluation::{Evaluation, Metric, Outcomes};

/// How many news a search must find for the metrics.
pub const DEPTH: usize = 100;

/// Names for reports, and the number in a query's metrics.
type Kind = (&'static str, fn(&QueryMetrics) -> f64);
const KINDS: [Kind; 4] = [
    ("ndcg@10", |m| m.ndcg10),
    ("mrr@10", |m| m.mrr10),
    ("recall@10", |m| m.recall10),
    ("recall@100", |m| m.recall100),
];

/// nDCG@10, MRR@10, recall@10 and recall@100 with intervals over queries; `hits[i]` are the best [`DEPTH`] news of the
/// whole corpus for `queries[i]`.
///
/// # Errors
/// If no query has a relevant news.
pub fn evaluate_hits(queries: &[&Judged], hits: &[Vec<Hit>]) -> Result<Evaluation> {
    let each: Vec<Option<QueryMetrics>> =
        queries.par_iter().zip(hits).map(|(judged, hits)| one(judged, hits)).collect();
    let known: Vec<QueryMetrics> = each.iter().flatten().copied().collect();
    let rows = (0..).zip(&each).filter(|(_, metrics)| metrics.is_some()).map(|(i, _)| i).collect();
    if known.is_empty() {
        bail!("none of {} queries has a relevant news, expected at least one", queries.len());
    }
    let mean = |(name, value): &Kind| Metric::mean(name, &known.iter().map(value).collect::<Vec<f64>>());
    let metrics = KINDS.iter().map(mean).collect::<Result<_>>()?;
    let values = KINDS.iter().map(|(name, value)| ((*name).into(), known.iter().map(value).collect())).collect();
    let outcomes = Outcomes { rows, values, classes: None };
    Ok(Evaluation { rows: known.len(), unit: "queries".into(), metrics, outcomes, ..Evaluation::default() })
}

fn one(judged: &Judged, hits: &[Hit]) -> Option<QueryMetrics> {
    let grade = |hit: &Hit| judged.relevant.iter().find(|(row, _)| *row == hit.row).map_or(0, |(_, grade)| *grade);
    let retrieved: Vec<u8> = hits.iter().map(grade).collect();
    let relevant: Vec<u8> = judged.relevant.iter().map(|(_, grade)| *grade).collect();
    query_metrics(&retrieved, &relevant)
}
