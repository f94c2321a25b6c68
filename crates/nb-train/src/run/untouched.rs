//! The models of a ranking run before any training: what a user starts from.

use anyhow::{Context, Result};
use nb_dist::ProcessGroup;
use nb_model::Bert;
use nb_report::record::{ModelSummary, Untouched};

use super::evaluation_cache::EvaluationCache;
use super::state::Run;
use crate::model::{Model, build};
use crate::plan::{ModelSource, Plan, StudentStart};
use crate::task::{SplitName, Task};
use nb_rank::Measurements;

/// Measures the checkpoint that the teacher starts from and the student before its first step, with the pooling of the
/// checkpoint's folder and cosines. `None` for a task that does not rank, and for models with random weights.
///
/// # Errors
/// If a model cannot be loaded or measured, or if a process is lost.
pub(super) fn measure_untouched<K: Task>(run: &Run<'_, K>, processes: &ProcessGroup) -> Result<Option<Untouched>> {
    let plan = run.plan;
    let ModelSource::Folder(_) = &plan.teacher else { return Ok(None) };
    let cache = EvaluationCache::new(plan, &run.sources, processes);
    let measure = |name: &str, bert: Bert| -> Result<Option<ModelSummary>> {
        let Some(head) = run.task.untouched_head(bert.config().hidden_size) else { return Ok(None) };
        let model = Model { bert, head };
        let of = |split| cache.measure(name, split, || run.task.evaluate(&model, split, &[], processes));
        let dev = of(SplitName::Dev).with_context(|| name.to_owned())?;
        let test = run.task.has_test().then(|| of(SplitName::Test)).transpose().with_context(|| name.to_owned())?;
        Ok(Some(ModelSummary {
            layers: Some(model.bert.depth() as u64),
            parameters: Some(model.bert.arena().layout().numel().unsigned_abs()),
            dev: dev.record(),
            test: test.as_ref().map(Measurements::record),
            ..ModelSummary::default()
        }))
    };
    if run.task.untouched_head(plan.source_config.hidden_size).is_none() {
        return Ok(None); // without loading a model
    }
    let teacher = build::source(plan)?;
    let student = starts_from_checkpoint(plan).then(|| build::first_student(plan, &teacher)).transpose()?;
    let student = match student {
        Some(bert) => measure(&format!("untouched student {:?}", plan.student_start), bert)?,
        None => None,
    };
    Ok(Some(Untouched { teacher: measure("untouched teacher", teacher)?, student }))
}

fn starts_from_checkpoint(plan: &Plan) -> bool {
    plan.method.has_student() && !matches!(plan.student_start, StudentStart::Random)
}

/// Returns a warning if training left the teacher below the checkpoint that it started from.
pub(super) fn warn_worse(plan: &Plan, untouched: &Untouched, teacher: &ModelSummary, metric: &str) -> Option<String> {
    if plan.takes_teacher_as_it_comes() {
        return None; // nothing was trained, but it may be measured with another head
    }
    let before = untouched.teacher.as_ref()?.last().scores.metric(metric)?;
    let after = teacher.last().scores.metric(metric)?;
    (after < before).then(|| {
        format!(
            "training left the teacher below the checkpoint that it started from ({metric} {after:.4} against {before:.4}); \
             lower teacher.train.lr (a frozen teacher) or train.teacher_lr (a joint one), or use the checkpoint as it comes \
             with teacher.train.epochs: 0"
        )
    })
}
