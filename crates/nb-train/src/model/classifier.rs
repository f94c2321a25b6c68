//! A frozen teacher that was fine-tuned elsewhere: an encoder with the classifier of its folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use nb_checkpoint::{ClassifierParameters, DenseParameters, SavedClassifier, SavedEncoder};
use nb_model::{Arena, fill};
use tch::Tensor;

use crate::plan::Plan;
use crate::task::{ClassifierHead, Task, TaskHead};

/// Reads the classifier of a folder into a head; `None` if the task has no classes or the folder no classifier.
///
/// # Errors
/// If the classifier has other labels than the task, or if its parameters cannot be used.
pub(super) fn read_head<K: Task>(folder: &Path, hidden: i64, plan: &Plan, task: &K) -> Result<Option<K::Head>> {
    if plan.ranks {
        return Ok(None);
    }
    let Some(classifier) = SavedClassifier::read(folder)? else { return Ok(None) };
    let ClassifierHead { head, order } = task.classifier_head(&classifier, hidden, plan.device)?;
    let weights = SavedEncoder::map(folder)?.weights;
    let ClassifierParameters { dense, output } = classifier.parameters(&weights)?;
    let parameters = BTreeMap::from([("transform", dense), ("dense", ordered(output, &order))]);
    for arena in head.arenas() {
        fill(arena, tensors_of(arena, &parameters), weights.path())?;
    }
    Ok(Some(head))
}

/// Returns the rows of a layer in another order.
fn ordered(layer: DenseParameters, order: &[usize]) -> DenseParameters {
    let columns = layer.weight.len() / layer.bias.len().max(1);
    DenseParameters {
        weight: order.iter().flat_map(|&row| &layer.weight[row * columns..][..columns]).copied().collect(),
        bias: order.iter().map(|&row| layer.bias[row]).collect(),
    }
}

/// Returns the values of an arena's parameters, which are called `<layer>.weight` and `<layer>.bias`.
fn tensors_of(arena: &Arena, parameters: &BTreeMap<&str, DenseParameters>) -> BTreeMap<String, Tensor> {
    let value = |name: &str, shape: &[i64]| {
        let (layer, part) = name.split_once('.')?;
        let DenseParameters { weight, bias } = parameters.get(layer)?;
        let values = if part == "weight" { weight } else { bias };
        Some((name.to_owned(), Tensor::from_slice(values).view(shape)))
    };
    arena.layout().slots().iter().filter_map(|slot| value(&slot.name, &slot.shape)).collect()
}
