//! Metrics of searches.

use anyhow::{Result, bail};
use nb_data::beir::Judged;
use nb_eval::{Gain, QueryMetrics, Retrieved, query_metrics};
use rayon::prelude::*;

use super::Hit;
use crate::evaluation::{Evaluation, Metric, Outcomes};

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

/// Which judgements and queries count.
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
    let (counted, left_out) = match judging {
        Judging::All => (told, Vec::new()),
        Judging::Known => (Vec::new(), told),
    };
    Ok(Evaluation { rows: known.len(), unit, metrics, outcomes, counted, left_out, ..Evaluation::default() })
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
