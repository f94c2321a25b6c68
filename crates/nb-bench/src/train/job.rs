//! The job of a training peer: the models, the settings of method and optimiser, and the batches as token ids.

use anyhow::{Context, Result, bail};
use nb_data::TokenBatch;
use nb_model::POOLING_QUERY;
use nb_train::method::{Stage, Temperature};
use nb_train::optim::AdamW;
use nb_train::plan::{ModelSource, Plan};
use nb_train::task::{Objective, Recommend, Task, TextRef, Topic};
use serde_json::{Map, Value, json};

use crate::context::utf8;
use crate::device;

/// A task whose batches can be exported to a peer.
pub(super) trait ExportBatch: Task {
    /// Returns the data that a peer needs besides the texts of a batch.
    fn targets(&self, batch: &Self::Batch) -> Result<Value>;
}

impl ExportBatch for Topic {
    fn targets(&self, batch: &Self::Batch) -> Result<Value> {
        let labels = self.labels(batch).to_device(tch::Device::Cpu);
        Ok(json!({"labels": Vec::<i64>::try_from(labels)?}))
    }
}

impl ExportBatch for Recommend {
    fn targets(&self, batch: &Self::Batch) -> Result<Value> {
        let readers = &batch.readers;
        let mut remaining = readers.history.as_slice();
        let mut histories = Vec::new();
        for &length in &readers.history_lengths {
            let (history, rest) = remaining.split_at(length as usize);
            histories.push(history);
            remaining = rest;
        }
        let candidates: Vec<&[i64]> = readers.candidates.chunks(1 + readers.negatives).collect();
        Ok(json!({"histories": histories, "candidates": candidates}))
    }
}

/// Returns the job of a peer that trains on `batches` according to `plan`.
///
/// # Errors
/// If the teacher is not a folder, or if the method uses something that the peer does not implement.
pub(super) fn job<K: ExportBatch>(plan: &Plan, task: &K, batches: &[K::Batch]) -> Result<Value> {
    let ModelSource::Folder(folder) = &plan.teacher else { bail!("a peer needs a teacher in a folder") };
    let folder = std::path::absolute(folder).context("the teacher's folder")?;
    let (method, train) = (&plan.method, &plan.train);
    let Temperature::Ramp(temperature) = method.temperature else { bail!("a peer needs one temperature for all rows") };
    let [stage] = method.stages.as_slice() else { bail!("a peer needs a method with a single stage") };
    let optimiser = AdamW::new(plan.train.weight_decay);
    Ok(json!({
        "task": task.name(),
        "teacher": utf8(&folder)?,
        "joint": method.has_teacher(),
        "layers": plan.student_layers,
        "query": POOLING_QUERY,
        "precision": device::precision_name(plan.precision),
        "threads": plan.threads,
        "device": device::name(plan.device),
        "weights": weights(stage),
        "temperature": temperature.at(0.0),
        "beta": method.beta.at(0.0),
        "clip": train.clip,
        "optimiser": {
            "lr": train.lr,
            "head_lr": train.head_lr,
            "teacher_lr": train.teacher_lr,
            "weight_decay": train.weight_decay,
            "betas": [optimiser.beta1, optimiser.beta2],
            "eps": optimiser.epsilon,
        },
        "batches": batches.iter().map(|batch| export(task, batch)).collect::<Result<Vec<_>>>()?,
    }))
}

/// Returns the weight of each term by name.
fn weights(stage: &Stage) -> Map<String, Value> {
    stage.terms.iter().map(|term| (term.kind.name().to_owned(), json!(term.weight.at(0.0)))).collect()
}

/// Returns a batch: its targets, and for each text its ids and the number of tokens in its first part.
fn export<K: ExportBatch>(task: &K, batch: &K::Batch) -> Result<Value> {
    let stores = task.stores();
    let texts = task.texts(batch).into_iter().map(|TextRef { store, row }| {
        let TokenBatch { ids, segments, .. } = stores[store].batch(&[row]);
        let first = segments.iter().filter(|&&segment| segment == 0).count();
        json!({"ids": ids, "first": first})
    });
    let mut exported = task.targets(batch)?;
    exported["texts"] = texts.collect();
    Ok(exported)
}
