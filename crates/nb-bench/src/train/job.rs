//! What a peer is told: models, the numbers of the method and of the optimiser, and the batches as token ids.

use anyhow::{Context, Result, bail};
use nb_data::TokenBatch;
use nb_model::POOLING_QUERY;
use nb_train::method::{Stage, Temperature};
use nb_train::optim::AdamW;
use nb_train::plan::{ModelSource, Plan};
use nb_train::task::{Objective, Recommend, Task, TextRef, Topic};
use serde_json::{Map, Value, json};

use crate::device;
use crate::setting::text;

/// A task whose batches a peer can be given.
pub(super) trait Exported: Task {
    /// What the peer needs to know beside the texts of a batch.
    fn above(&self, batch: &Self::Batch) -> Result<Value>;
}

impl Exported for Topic {
    fn above(&self, batch: &Self::Batch) -> Result<Value> {
        let labels = self.labels(batch).to_device(tch::Device::Cpu);
        Ok(json!({"labels": Vec::<i64>::try_from(labels)?}))
    }
}

impl Exported for Recommend {
    fn above(&self, batch: &Self::Batch) -> Result<Value> {
        let readers = &batch.readers;
        let mut rest = readers.history.as_slice();
        let mut histories = Vec::new();
        for &length in &readers.history_lengths {
            let (own, others) = rest.split_at(length as usize);
            histories.push(own);
            rest = others;
        }
        let candidates: Vec<&[i64]> = readers.candidates.chunks(1 + readers.negatives).collect();
        Ok(json!({"histories": histories, "candidates": candidates}))
    }
}

/// The job of a peer that does what `plan` says over `batches`.
///
/// # Errors
/// If the teacher is no folder, or if the method has parts that change in its course.
pub(super) fn job<K: Exported>(plan: &Plan, task: &K, batches: &[K::Batch]) -> Result<Value> {
    let ModelSource::Folder(folder) = &plan.teacher else { bail!("a peer needs a teacher that is a folder") };
    let folder = std::path::absolute(folder).context("the teacher's folder")?;
    let (method, train) = (&plan.method, &plan.train);
    let Temperature::Course(temperature) = method.temperature else { bail!("a temperature by row") };
    let [stage] = method.stages.as_slice() else { bail!("a method of several stages") };
    let optimiser = AdamW::new(plan.train.weight_decay);
    Ok(json!({
        "task": task.name(),
        "teacher": text(&folder)?,
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
        "batches": batches.iter().map(|batch| one(task, batch)).collect::<Result<Vec<_>>>()?,
    }))
}

fn weights(stage: &Stage) -> Map<String, Value> {
    stage.terms.iter().map(|term| (term.kind.name().to_owned(), json!(term.weight.at(0.0)))).collect()
}

/// A batch: of each text its ids, and how many of them belong to its first part.
fn one<K: Exported>(task: &K, batch: &K::Batch) -> Result<Value> {
    let stores = task.stores();
    let texts = task.texts(batch).into_iter().map(|TextRef { store, row }| {
        let TokenBatch { ids, segments, .. } = stores[store].batch(&[row]);
        let first = segments.iter().filter(|&&segment| segment == 0).count();
        json!({"ids": ids, "first": first})
    });
    let mut one = task.above(batch)?;
    one["texts"] = texts.collect();
    Ok(one)
}
