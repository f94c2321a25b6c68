//! Cached evaluations of models that no run changes: untouched models and frozen teachers. The runs of a comparison measure the
//! same ones.

use std::path::PathBuf;

use anyhow::Result;
use nb_dist::ProcessGroup;
use nb_report::record::Sources;
use serde::Serialize;

use crate::atomic_file::write_file;
use crate::config::DataConfig;
use crate::plan::Plan;
use crate::task::SplitName;
use nb_rank::Measurements;

/// Increased with every change of the rows that are measured, of a metric, or of the choice of thresholds.
const VERSION: u32 = 2;

/// Everything that the evaluation of a model depends on.
#[derive(Debug, Serialize)]
struct Key<'a> {
    version: u32,
    /// The model, in words.
    model: &'a str,
    split: &'static str,
    task: &'a str,
    sources: &'a Sources,
    data: &'a DataConfig,
    precision: String,
    device: String,
    layers: usize,
    head: &'a nb_checkpoint::HeadDescription,
    untouched_head: &'a nb_checkpoint::HeadDescription,
}

/// The evaluations of a run's unchanged models, in a folder of the cache.
#[derive(Debug)]
pub(crate) struct EvaluationCache<'a> {
    plan: &'a Plan,
    sources: &'a Sources,
    /// True if there is a single process, which alone may skip an evaluation.
    is_alone: bool,
}

impl<'a> EvaluationCache<'a> {
    pub(crate) fn new(plan: &'a Plan, sources: &'a Sources, processes: &ProcessGroup) -> Self {
        Self { plan, sources, is_alone: processes.size() == 1 }
    }

    /// Returns the measurements of the model that `model` names, from the cache or from `measure`. A cache that cannot be read
    /// or written only costs time.
    ///
    /// # Errors
    /// If `measure` fails.
    pub(crate) fn measure(
        &self,
        model: &str,
        split: SplitName,
        measure: impl FnOnce() -> Result<Measurements>,
    ) -> Result<Measurements> {
        let Some(path) = self.path(model, split).filter(|_| self.is_alone) else { return measure() };
        let saved = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(saved) = saved {
            return Ok(saved);
        }
        let measured = measure()?;
        let written = serde_json::to_vec(&measured).map_err(anyhow::Error::from).and_then(|text| {
            path.parent().map(std::fs::create_dir_all).transpose()?;
            write_file(&path, &text)
        });
        if let Err(e) = written {
            tracing::debug!("an evaluation was not cached: {e:#}");
        }
        Ok(measured)
    }

    fn path(&self, model: &str, split: SplitName) -> Option<PathBuf> {
        let plan = self.plan;
        let key = Key {
            version: VERSION,
            model,
            split: split.name(),
            task: plan.data.task.name(),
            sources: self.sources,
            data: &plan.resolved.data,
            precision: format!("{:?}", plan.precision),
            device: format!("{:?}", plan.device),
            layers: plan.student_layers,
            head: &plan.head,
            untouched_head: &plan.untouched_head,
        };
        let key = serde_json::to_vec(&key).ok()?;
        Some(plan.data.cache.join("evaluations").join(format!("{}.json", &blake3::hash(&key).to_hex()[..32])))
    }
}
