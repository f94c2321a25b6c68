//! Metrics of scored impressions: over all, by the length of the reader's history, and by whether training showed the
//! clicked articles.

use nb_data::behaviors::{Behaviors, NO_LABEL, UNKNOWN};
use nb_eval::{Impression, ImpressionMetrics, each_impression, ranks};
use nb_report::record::Outcomes;
use rayon::prelude::*;

use super::CandidateScores;
use crate::error::RankError;
use crate::measurements::{Count, Measurements, Metric, Part};

/// Impressions that were scored.
#[derive(Debug, Clone, Copy)]
pub struct ScoredImpressions<'a> {
    /// All impressions of the file.
    pub behaviors: &'a Behaviors,
    /// The impressions that were scored, in the order of their scores.
    pub impressions: &'a [u32],
    /// By row of the articles: true if training showed the article. None if this is unknown.
    pub seen: Option<&'a [bool]>,
}

/// A metric of impressions.
struct MetricColumn {
    /// The name in reports.
    name: &'static str,
    /// Reads the value of an impression.
    value: fn(&ImpressionMetrics) -> f64,
}

const METRICS: [MetricColumn; 4] = [
    MetricColumn { name: "auc", value: |m| m.auc },
    MetricColumn { name: "mrr", value: |m| m.mrr },
    MetricColumn { name: "ndcg@5", value: |m| m.ndcg5 },
    MetricColumn { name: "ndcg@10", value: |m| m.ndcg10 },
];

const TIED: &str = "impressions in which a clicked and another article have equal scores";

/// A range of history lengths with separate metrics.
struct HistoryPart {
    name: &'static str,
    shortest: usize,
    longest: usize,
}

const HISTORIES: [HistoryPart; 4] = [
    HistoryPart { name: "history 0", shortest: 0, longest: 0 },
    HistoryPart { name: "history 1-5", shortest: 1, longest: 5 },
    HistoryPart { name: "history 6-20", shortest: 6, longest: 20 },
    HistoryPart { name: "history 21+", shortest: 21, longest: usize::MAX },
];

/// The metrics of an impression that has both clicked and other articles.
#[derive(Debug, Clone, Copy)]
struct Measured {
    impression: u32,
    metrics: ImpressionMetrics,
}

/// Computes AUC, MRR, nDCG@5 and nDCG@10 with intervals over impressions, as MIND's published script computes them from the
/// ranks that `nb rank` writes.
///
/// The script reads ranks, not scores, so the metrics are those of [`ranks`]: each rank from 1 to n occurs once, equal
/// scores keep the impression's order, and candidates without an article come last. Impressions of one class are skipped
/// and counted. Impressions in which a clicked and another article have equal scores are counted too, because their
/// metrics depend on the order in the file.
///
/// # Errors
/// If no impression has both clicked and other articles, or if there are candidates without a label.
pub fn evaluate_clicks(scored: &ScoredImpressions<'_>, scores: &CandidateScores) -> Result<Measurements, RankError> {
    let ScoredImpressions { behaviors, impressions, .. } = *scored;
    check_labels(scored)?;
    let clicked = |impression: u32| behaviors.clicked(impression as usize);
    let negated_ranks: Vec<Vec<f64>> = (0..impressions.len())
        .into_par_iter()
        .map(|i| Ok(ranks(scores.impression(i))?.into_iter().map(|rank| -(rank as f64)).collect()))
        .collect::<Result<_, nb_eval::Error>>()?;
    let ranked: Vec<Impression<'_>> = impressions
        .iter()
        .zip(&negated_ranks)
        .map(|(&impression, scores)| Impression { labels: clicked(impression), scores })
        .collect();
    let mut measured = Vec::with_capacity(impressions.len());
    for (&impression, metrics) in impressions.iter().zip(each_impression(&ranked)?) {
        measured.extend(metrics.map(|metrics| Measured { impression, metrics }));
    }
    if measured.is_empty() {
        let expected = "impressions has both clicked and other articles";
        return Err(RankError::NothingToMeasure { found: impressions.len(), expected });
    }
    let is_tied = |i: &usize| has_ties(clicked(impressions[*i]), scores.impression(*i));
    let tied = (0..impressions.len()).filter(is_tied).count() as u64;
    let values = METRICS.iter().map(|column| (column.name.into(), column_values(column, &measured)));
    let rows = measured.iter().map(|m| m.impression).collect();
    let one_class = (impressions.len() - measured.len()) as u64;
    Ok(Measurements {
        outcomes: Outcomes { rows, values: values.collect(), classes: None },
        rows: measured.len(),
        unit: "impressions".into(),
        metrics: metrics(&measured)?,
        parts: parts(scored, &measured)?,
        counted: if tied > 0 { vec![Count::new(TIED, tied)] } else { Vec::new() },
        skipped: vec![Count::new("impressions of one class", one_class)],
        thresholds: Vec::new(),
    })
}

/// Checks that every candidate has a label.
fn check_labels(scored: &ScoredImpressions<'_>) -> Result<(), RankError> {
    let ScoredImpressions { behaviors, impressions, .. } = scored;
    let is_unlabelled = |impression: &&u32| behaviors.clicked(**impression as usize).contains(&NO_LABEL);
    if let Some(&impression) = impressions.iter().find(is_unlabelled) {
        return Err(RankError::NoLabels { line: behaviors.line(impression as usize) });
    }
    Ok(())
}

/// Returns true if a clicked candidate has the same score as one that was not clicked.
fn has_ties(clicked: &[u8], scores: &[f64]) -> bool {
    let mut pairs: Vec<(f64, u8)> = scores.iter().copied().zip(clicked.iter().copied()).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    pairs.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
}

/// Computes the metrics of each part of the impressions that is not empty.
fn parts(scored: &ScoredImpressions<'_>, measured: &[Measured]) -> Result<Vec<Part>, RankError> {
    let behaviors = scored.behaviors;
    let history = |m: &Measured| behaviors.history_length(m.impression as usize); // as in the file, even if less is read
    let mut parts = Vec::new();
    for HistoryPart { name, shortest, longest } in HISTORIES {
        parts.extend(part(name, measured, |m| (shortest..=longest).contains(&history(m)))?);
    }
    parts.extend(part("with a history", measured, |m| history(m) > 0)?);
    if let Some(seen) = scored.seen {
        let all_seen = |m: &Measured| clicked_seen(behaviors, m.impression, seen);
        parts.extend(part("all clicked news seen in training", measured, all_seen)?);
        parts.extend(part("some clicked news new", measured, |m| !all_seen(m))?);
    }
    Ok(parts)
}

/// Returns true if training showed every clicked article.
fn clicked_seen(behaviors: &Behaviors, impression: u32, seen: &[bool]) -> bool {
    let i = impression as usize;
    let candidates = behaviors.candidates(i).iter().zip(behaviors.clicked(i));
    candidates.filter(|(_, clicked)| **clicked == 1).all(|(row, _)| *row != UNKNOWN && seen[*row as usize])
}

/// Computes the metrics of the impressions that `includes` selects, if there are any.
fn part(name: &str, measured: &[Measured], includes: impl Fn(&Measured) -> bool) -> Result<Option<Part>, RankError> {
    let selected: Vec<Measured> = measured.iter().filter(|m| includes(m)).copied().collect();
    if selected.is_empty() {
        return Ok(None);
    }
    Ok(Some(Part { name: name.to_owned(), rows: selected.len(), metrics: metrics(&selected)? }))
}

fn metrics(measured: &[Measured]) -> Result<Vec<Metric>, RankError> {
    METRICS.iter().map(|column| Metric::mean(column.name, &column_values(column, measured))).collect()
}

fn column_values(column: &MetricColumn, measured: &[Measured]) -> Vec<f64> {
    measured.iter().map(|m| (column.value)(&m.metrics)).collect()
}
