//! The end of a run: the final evaluation of the best models, and the outcomes, summary and report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nb_dist::ProcessGroup;
use nb_report::RunRecord;
use nb_report::record::{Cost, Named, OUTCOMES_FILE, OutcomesFile, RunCost, Summary, TrainSummary, Untouched};

use crate::atomic_file::write_file;
use crate::method::TeacherRole;
use crate::model::build;
use crate::model::{Model, Role};
use crate::plan::Plan;
use crate::run::evaluation_cache::EvaluationCache;
use crate::run::outcomes;
use crate::run::state::Run;
use crate::run::summary::{self, FinishedModel, RunResult, Speed, speed};
use crate::run::untouched::{measure_untouched, warn_worse};
use crate::run_folder::REPORT;
use crate::run_folder::best::Best;
use crate::run_folder::provenance;
use crate::task::{SplitName, Task};

/// Evaluates on all processes. The main process writes `outcomes.safetensors`, `summary.json` and `report.html`, in this
/// order: a run with a summary is finished, whether or not it has a report. Only the main process returns the result.
pub(crate) fn finish<K: Task>(run: &Run<'_, K>, processes: &ProcessGroup) -> Result<Option<RunResult>> {
    let mut models = Vec::new();
    for (role, model) in run.models.named() {
        let measured = measure(run, role, model, processes);
        models.push(measured.with_context(|| format!("{} of the finished run", role.name()))?);
    }
    let untouched = match measure_untouched(run, processes) {
        Err(e) if processes.size() == 1 => {
            tracing::warn!("the models before training were not measured: {e:#}");
            None
        }
        measured => measured?,
    };
    let _work = processes.busy();
    run.folder.is_ours().then(|| write(run, models, untouched)).transpose()
}

/// Times the models and writes the files of a finished run.
fn write<K: Task>(
    run: &Run<'_, K>,
    mut models: Vec<FinishedModel<'_>>,
    untouched: Option<Untouched>,
) -> Result<RunResult> {
    let timing_batches = run.task.timing_batches();
    for (finished, (_, model)) in models.iter_mut().zip(run.models.named()) {
        finished.speed = speed(&timing_batches, |batch| time(run.task, model, batch));
    }
    let folder = run.folder.path();
    outcomes::write(&folder.join(OUTCOMES_FILE), &outcomes_file(run, &models))?;
    let mut record = summary(run, &models);
    if let (Some(untouched), Some(teacher)) = (&untouched, &record.teacher) {
        record.warnings.get_or_insert_default().extend(warn_worse(
            run.plan,
            untouched,
            teacher,
            run.task.primary_metric(),
        ));
    }
    record.untouched = untouched;
    record.warnings.iter().flatten().for_each(|warning| tracing::warn!("{warning}"));
    run.folder.finish(&record)?;
    run.checkpoints.remove(); // a finished run is not resumed
    if let Err(e) = report(folder) {
        tracing::warn!("no report was written: {e:#}");
    }
    let table = summary::text(folder, &models, record.untouched.as_ref());
    Ok(RunResult { folder: folder.to_owned(), record, table })
}

/// Returns the outcomes of the last evaluation of each model.
fn outcomes_file<K: Task>(run: &Run<'_, K>, models: &[FinishedModel<'_>]) -> OutcomesFile {
    let split = if run.task.has_test() { SplitName::Test } else { SplitName::Dev };
    let last_outcomes = |role| {
        let model = models.iter().find(|model| model.role == role)?;
        Some(model.last_evaluation()?.outcomes.clone())
    };
    OutcomesFile {
        task: Some(run.task.name().to_owned()),
        primary: Some(run.task.primary_metric().to_owned()),
        split: Some(split.name().to_owned()),
        student: last_outcomes(Role::Student),
        teacher: last_outcomes(Role::Teacher),
    }
}

/// Returns `summary.json` of a finished run.
fn summary<K: Task>(run: &Run<'_, K>, models: &[FinishedModel<'_>]) -> Summary {
    let (plan, state, clock) = (run.plan, &run.state, &run.state.clock);
    let empty_terms: BTreeMap<&str, u64> = state.empty_terms.iter().map(|(kind, n)| (kind.name(), *n)).collect();
    let model = |role| models.iter().find(|model| model.role == role).map(FinishedModel::record);
    Summary {
        task: Some(run.task.name().to_owned()),
        method: Some(plan.method.name.to_string()),
        seed: Some(plan.seed),
        name: Some(plan.name.clone()),
        primary: Some(run.task.primary_metric().to_owned()),
        train: Some(TrainSummary {
            steps: Some(state.step),
            seconds: Some(clock.seconds()),
            samples: Some(clock.samples()),
            samples_per_second: Some(clock.samples_per_second()),
            sequences_per_second: Some(clock.sequences_per_second()),
            tokens_per_second: Some(clock.tokens_per_second()),
            others: Named::default(),
        }),
        teacher: model(Role::Teacher),
        student: model(Role::Student),
        sources: run.sources.clone(),
        machine: Some(provenance::machine(plan)),
        warnings: Some(run.task.warnings()),
        untouched: None,
        cost: Some(RunCost { run: Some(clock.cost()), teacher: teachers_cost(plan) }),
        terms_without_unit: Some(empty_terms.into_iter().collect()),
        updates_left_out: Some(state.skipped),
    }
}

/// Returns the cost of training the frozen teachers, as far as their runs recorded it. A teacher that is used as it comes cost
/// nothing.
fn teachers_cost(plan: &Plan) -> Option<Cost> {
    if plan.takes_teacher_as_it_comes() {
        return None;
    }
    let mut total: Option<Cost> = None;
    for folder in &plan.trained {
        let run = folder.parent().and_then(|run| RunRecord::read(run).ok());
        let RunCost { run: own, teacher } = run.and_then(|run| run.summary.cost)?; // else a part would pass for the total
        for cost in [own, teacher].into_iter().flatten() {
            let sum = total.get_or_insert_default();
            let add = |sum: &mut Option<f64>, more: Option<f64>| *sum = Some(sum.unwrap_or(0.0) + more.unwrap_or(0.0));
            add(&mut sum.seconds, cost.seconds);
            add(&mut sum.processor_seconds, cost.processor_seconds);
        }
    }
    total
}

/// Writes `report.html` of a finished run.
fn report(folder: &std::path::Path) -> Result<()> {
    let html = nb_report::run_report(&RunRecord::read(folder)?)?;
    write_file(&folder.join(REPORT), html.as_bytes())
}

/// Evaluates a model. A trained model is evaluated as saved at its best step, a frozen teacher unchanged.
fn measure<'a, K: Task>(
    run: &'a Run<'_, K>,
    role: Role,
    model: &'a Model<K::Head>,
    processes: &ProcessGroup,
) -> Result<FinishedModel<'a>> {
    let evaluate =
        |model: &Model<K::Head>, split, thresholds: &[f64]| run.task.evaluate(model, split, thresholds, processes);
    let has_test = run.task.has_test();
    let bert = &model.bert;
    if role == Role::Teacher && run.plan.method.teacher == TeacherRole::Frozen {
        let folder = run.plan.trained[0].display().to_string();
        let cache = EvaluationCache::new(run.plan, &run.sources, processes);
        let measure =
            |split, thresholds: &[f64]| cache.measure("frozen teacher", split, || evaluate(model, split, thresholds));
        let dev = measure(SplitName::Dev, &[])?;
        let test = has_test.then(|| measure(SplitName::Test, &dev.thresholds)).transpose()?;
        return Ok(FinishedModel {
            role,
            bert,
            folder,
            best_step: None,
            dev: Some(dev),
            test,
            speed: Speed::default(),
        });
    }
    let best = run.state.best.iter().find(|best| best.role() == role).and_then(Best::evaluation);
    let mut test = None;
    if has_test {
        let saved = run.folder.path().join(role.name());
        let saved = build::saved_model_from_main(&saved, run.plan, run.task, model, processes)?;
        let thresholds = best.map(|best| best.evaluation.thresholds.as_slice()).unwrap_or_default();
        test = Some(evaluate(&saved, SplitName::Test, thresholds)?);
    }
    Ok(FinishedModel {
        role,
        bert,
        folder: role.name().to_owned(),
        best_step: best.map(|best| best.step),
        dev: best.map(|best| best.evaluation.clone()),
        test,
        speed: Speed::default(),
    })
}

/// Times one inference pass, head included.
fn time<K: Task>(task: &K, model: &Model<K::Head>, batch: &nb_data::TokenBatch) -> Duration {
    let begin = Instant::now();
    task.infer(&model.bert, &model.head, batch);
    begin.elapsed()
}
