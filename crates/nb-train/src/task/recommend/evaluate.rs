//! Metrics of scored impressions: over all, by how much is known of the reader, and by whether the news is new.

use anyhow::{Result, bail};
use nb_data::behaviors::{Behaviors, NO_LABEL, UNKNOWN};
use nb_eval::{Impression, ImpressionMetrics, each_impression, ranks};
use rayon::prelude::*;

use super::Scores;
use crate::task::evaluation::{Evaluation, Metric, Outcomes, Part};

/// The impressions that were scored.
#[derive(Debug, Clone, Copy)]
pub struct Impressions<'a> {
    /// All impressions of the file.
    pub behaviors: &'a Behaviors,
    /// Those that were scored, in the order of their scores.
    pub which: &'a [u32],
    /// By news: whether training showed it, if that is known.
    pub seen: Option<&'a [bool]>,
}

/// Names for reports, and the number in an impression's metrics.
type Kind = (&'static str, fn(&ImpressionMetrics) -> f64);
const KINDS: [Kind; 4] = [("auc", |m| m.auc), ("mrr", |m| m.mrr), ("ndcg@5", |m| m.ndcg5), ("ndcg@10", |m| m.ndcg10)];

const TIED: &str = "impressions in which a clicked and another article have equal scores";

/// Lengths of history that are told apart: from, to, and the name.
const HISTORIES: [(usize, usize, &str); 4] =
    [(0, 0, "history 0"), (1, 5, "history 1-5"), (6, 20, "history 6-20"), (21, usize::MAX, "history 21+")];

/// AUC, MRR, nDCG@5 and nDCG@10 with intervals over impressions: what MIND's published script says of the ranks that
/// `nb rank` writes.
///
/// The script knows ranks, not scores, so the metrics are those of [`ranks`]: every rank from 1 to n once, equal scores in
/// the impression's order, candidates without an article last. Impressions of one class are left out and counted, and so
/// are those counted in which a clicked and another article have equal scores: there the order of the file decides.
///
/// # Errors
/// If no impression has both clicked and other news, or if there are candidates without a label.
pub fn evaluate_clicks(impressions: &Impressions<'_>, scores: &Scores) -> Result<Evaluation> {
    let Impressions { behaviors, which, seen } = *impressions;
    if let Some(&i) = which.iter().find(|&&i| behaviors.clicked(i as usize).contains(&NO_LABEL)) {
        bail!(
            "the impression on line {} has candidates without -0 or -1, expected labels as in MIND's train and dev \
             folders; `nb rank` ranks impressions without labels",
            behaviors.line(i as usize)
        );
    }
    let clicked = |i: u32| behaviors.clicked(i as usize);
    let ranked = |n| Ok(ranks(scores.of(n))?.into_iter().map(|rank| -(rank as f64)).collect());
    let ranked: Vec<Vec<f64>> = (0..which.len()).into_par_iter().map(ranked).collect::<Result<_>>()?;
    let listed: Vec<Impression<'_>> =
        which.iter().zip(&ranked).map(|(&i, scores)| Impression { labels: clicked(i), scores }).collect();
    let each = each_impression(&listed)?;
    let tied = which.iter().enumerate().filter(|&(n, &i)| ties(clicked(i), scores.of(n))).count() as u64;
    let all: Vec<(u32, ImpressionMetrics)> =
        which.iter().zip(&each).filter_map(|(&i, metrics)| Some((i, (*metrics)?))).collect();
    if all.is_empty() {
        bail!("none of {} impressions has both clicked and other news, expected at least one", which.len());
    }
    let length = |i: u32| behaviors.history_length(i as usize); // what is known of readers, whatever the model reads
    let mut parts = Vec::new();
    for (from, to, name) in HISTORIES {
        parts.extend(part(name, &all, |i| (from..=to).contains(&length(i)))?);
    }
    parts.extend(part("with a history", &all, |i| length(i) > 0)?);
    if let Some(seen) = seen {
        parts.extend(part("all clicked news seen in training", &all, |i| clicked_seen(behaviors, i, seen))?);
        parts.extend(part("some clicked news new", &all, |i| !clicked_seen(behaviors, i, seen))?);
    }
    let values = KINDS.iter().map(|(name, value)| ((*name).into(), all.iter().map(|(_, m)| value(m)).collect()));
    let outcomes = Outcomes { rows: all.iter().map(|(i, _)| *i).collect(), values: values.collect(), classes: None };
    Ok(Evaluation {
        outcomes,
        rows: all.len(),
        unit: "impressions".into(),
        metrics: metrics(&all.iter().map(|(_, m)| *m).collect::<Vec<_>>())?,
        parts,
        counted: (tied > 0).then(|| (TIED.into(), tied)).into_iter().collect(),
        skipped: vec![("impressions of one class".into(), (each.len() - all.len()) as u64)],
    })
}

/// Returns true if a clicked candidate has the score of one that was not clicked.
fn ties(clicked: &[u8], scores: &[f64]) -> bool {
    let mut pairs: Vec<(f64, u8)> = scores.iter().copied().zip(clicked.iter().copied()).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    pairs.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
}

/// Whether training showed every news that was clicked.
fn clicked_seen(behaviors: &Behaviors, impression: u32, seen: &[bool]) -> bool {
    let i = impression as usize;
    let candidates = behaviors.candidates(i).iter().zip(behaviors.clicked(i));
    candidates.filter(|(_, clicked)| **clicked == 1).all(|(row, _)| *row != UNKNOWN && seen[*row as usize])
}

/// The impressions of which `of` is true, if there are any.
fn part(name: &str, all: &[(u32, ImpressionMetrics)], of: impl Fn(u32) -> bool) -> Result<Option<Part>> {
    let own: Vec<ImpressionMetrics> = all.iter().filter(|(i, _)| of(*i)).map(|(_, m)| *m).collect();
    if own.is_empty() {
        return Ok(None);
    }
    Ok(Some(Part { name: name.to_owned(), rows: own.len(), metrics: metrics(&own)? }))
}

fn metrics(each: &[ImpressionMetrics]) -> Result<Vec<Metric>> {
    let mean = |(name, value): &Kind| Metric::mean(name, &each.iter().map(value).collect::<Vec<f64>>());
    KINDS.iter().map(mean).collect()
}
