//! Metrics of predicted labels.

use anyhow::Result;
use nb_rank::{LabelSets, Measurements, evaluate_classes, evaluate_label_sets};
use nb_report::record::Classes;

use super::TopicSplit;

/// The predicted class of a row whose label is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prediction {
    /// The row of the token store.
    pub(super) row: u32,
    /// The class of the label.
    pub(super) label: usize,
    /// The most probable class.
    pub(super) class: usize,
    /// Its probability.
    pub(super) probability: f32,
}

/// Evaluates predictions. The outcomes hold the row and the classes of each prediction, ordered by row; `names` are those of
/// the classes.
///
/// # Errors
/// If there is no prediction.
pub(super) fn evaluate_predictions(mut predictions: Vec<Prediction>, names: Vec<String>) -> Result<Measurements> {
    predictions.sort_unstable_by_key(|prediction| prediction.row);
    let truth: Vec<usize> = predictions.iter().map(|prediction| prediction.label).collect();
    let predicted: Vec<usize> = predictions.iter().map(|prediction| prediction.class).collect();
    let mut evaluation = evaluate_classes(&truth, &predicted)?;
    evaluation.outcomes.rows = predictions.iter().map(|prediction| prediction.row).collect();
    evaluation.outcomes.classes = Some(Classes {
        names,
        truth: truth.iter().map(|&class| class as u32).collect(),
        predicted: predicted.iter().map(|&class| class as u32).collect(),
        probability: predictions.iter().map(|prediction| prediction.probability).collect(),
    });
    Ok(evaluation)
}

/// Evaluates the probabilities [rows × labels] of the rows of a split, of which a row may have any number of labels. Without
/// thresholds, chooses those that are best on these rows. The outcomes are ordered by row.
///
/// # Errors
/// If there is no row.
pub(super) fn evaluate_probabilities(
    split: &TopicSplit,
    probabilities: &[f32],
    labels: usize,
    thresholds: &[f64],
) -> Result<Measurements> {
    let truth: Vec<Vec<usize>> = split.rows.iter().map(|&row| split.labels.of(row as usize).to_vec()).collect();
    let sets = LabelSets { labels, truth: &truth, probabilities };
    let mut evaluation = evaluate_label_sets(&sets, Some(thresholds).filter(|given| !given.is_empty()))?;
    let mut order: Vec<usize> = (0..split.rows.len()).collect();
    order.sort_unstable_by_key(|&i| split.rows[i]);
    evaluation.outcomes.rows = order.iter().map(|&i| split.rows[i]).collect();
    for (_, values) in &mut evaluation.outcomes.values {
        *values = order.iter().map(|&i| values[i]).collect();
    }
    Ok(evaluation)
}
