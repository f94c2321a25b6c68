//! The weights of classes in the hard loss.

use std::rc::Rc;

use anyhow::{Result, bail};
use nb_checkpoint::LabelKind;
use nb_data::Labels;
use tch::{Device, Tensor};

use super::TopicSplit;
use crate::config::ClassWeights;

/// Returns the weight of each class; `None` if all rows count the same.
///
/// # Errors
/// If a weight is given for a label that no training row has.
pub(super) fn class_weights(
    choice: &ClassWeights,
    kind: LabelKind,
    train: &TopicSplit,
    labels: &Labels,
) -> Result<Option<Vec<f64>>> {
    match choice {
        ClassWeights::None => Ok(None),
        ClassWeights::Balanced => Ok(Some(balanced(kind, train, labels.len()))),
        ClassWeights::Given(weights) => {
            if let Some(unknown) = weights.keys().find(|label| labels.index_of(label).is_none()) {
                let known = labels.names().join(", ");
                bail!("label `{unknown}`, expected labels of the training rows: {known}");
            }
            Ok(Some(labels.names().iter().map(|label| weights.get(label).copied().unwrap_or(1.0)).collect()))
        }
    }
}

/// Returns the weights that balance the training rows. If each has one label: rows / (classes · rows of the class), so that every
/// class counts the same; the mean weight of a row is 1. If each has any number of labels: rows without the label / rows with it, so
/// that both count the same.
fn balanced(kind: LabelKind, train: &TopicSplit, classes: usize) -> Vec<f64> {
    let weight = |with: usize| match kind {
        LabelKind::Single => train.rows.len() as f64 / (classes * with.max(1)) as f64,
        // Where every row has the label, 0 would switch it off.
        LabelKind::Multi => (train.rows.len() - with).max(1) as f64 / with.max(1) as f64,
    };
    train.rows_by_label(classes).into_iter().map(weight).collect()
}

/// Copies weights to a device, [C] f32.
pub(super) fn to_tensor(weights: &[f64], device: Device) -> Rc<Tensor> {
    let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    Rc::new(nb_torch::send(&Tensor::from_slice(&weights), device))
}

/// Describes weights for people, the largest first.
pub(super) fn describe(weights: &[f64], labels: &Labels) -> String {
    const MOST_SHOWN: usize = 12;
    let mut all: Vec<(&str, f64)> = labels.names().iter().map(String::as_str).zip(weights.iter().copied()).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let more = if all.len() > MOST_SHOWN { ", …" } else { "" };
    let shown: Vec<String> =
        all.iter().take(MOST_SHOWN).map(|(label, weight)| format!("{label} {weight:.3}")).collect();
    format!("{}{more}", shown.join(", "))
}
