//! Metrics of predicted classes.

use anyhow::Result;
use nb_rank::{Measurements, evaluate_classes};
use nb_report::record::Classes;

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
