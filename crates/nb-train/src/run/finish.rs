//! The end of a run: the best models measured once more, and everything that is left of the run for people.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nb_dist::ProcessGroup;
use nb_report::RunRecord;
use serde_json::json;

use crate::method::TeacherRole;
use crate::model::build;
use crate::model::{Model, Role};
use crate::run::Run;
use crate::run::outcomes;
use crate::run::summary::{Finished, Speed, Summary, TrainReport, speed, summarise};
use crate::run_folder::atomic_file::write_whole;
use crate::run_folder::best::Best;
use crate::run_folder::provenance;
use crate::run_folder::{OUTCOMES, REPORT};
use crate::task::evaluation::Outcomes;
use crate::task::{SplitName, Task};

/// Measures on all processes, and the first writes `outcomes.safetensors`, `summary.json` and `report.html`, in this order: a
/// run whose summary is there is finished, whatever becomes of its report. The summary is the first process's.
pub(crate) fn finish<K: Task>(run: &Run<'_, K>, processes: &ProcessGroup) -> Result<Option<Summary>> {
    let mut models = Vec::new();
    for (role, model) in run.models.named() {
        let measured = measured(run, role, model, processes);
        models.push(measured.with_context(|| format!("{} of the finished run", role.name()))?);
    }
    let _work = processes.at_work();
    run.folder.is_ours().then(|| write(run, models)).transpose()
}

/// How fast each model is, and what is left of the run for people.
fn write<K: Task>(run: &Run<'_, K>, mut models: Vec<Finished<'_>>) -> Result<Summary> {
    let clock = &run.state.clock;
    let train = TrainReport {
        steps: run.state.step,
        seconds: clock.seconds(),
        samples: clock.samples(),
        samples_per_second: clock.samples_per_second(),
        sequences_per_second: clock.sequences_per_second(),
        tokens_per_second: clock.tokens_per_second(),
    };
    let timing_batches = run.task.timing_batches();
    for (finished, (_, model)) in models.iter_mut().zip(run.models.named()) {
        finished.speed = speed(&timing_batches, |batch| time(run.task, model, batch));
    }
    let folder = run.folder.path();
    let split = if run.task.has_test() { SplitName::Test } else { SplitName::Dev };
    let outcomes: Vec<(Role, &Outcomes)> =
        models.iter().filter_map(|m| Some((m.role, &m.last_evaluation()?.outcomes))).collect();
    outcomes::write(&folder.join(OUTCOMES), run.task.name(), run.task.primary_metric(), split, &outcomes)?;

    let mut summary = summarise(run.plan, (run.task.name(), run.task.primary_metric()), folder, train, &models);
    let without: BTreeMap<&str, u64> = run.state.empty_terms.iter().map(|(kind, n)| (kind.name(), *n)).collect();
    let warnings = run.task.warnings();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    run.sources.iter().for_each(|(key, value)| summary.json[key] = value.clone());
    for (key, value) in [
        ("machine", provenance::machine(run.plan)),
        ("warnings", json!(warnings)),
        ("terms_without_unit", json!(without)),
        ("updates_left_out", json!(run.state.skipped)),
    ] {
        summary.json[key] = value;
    }
    run.folder.finish(&summary.json)?;
    run.checkpoints.remove(); // nobody goes on with a run that is finished
    if let Err(e) = report(folder) {
        tracing::warn!("no report was written: {e:#}");
    }
    Ok(summary)
}

/// Writes `report.html` of a finished run.
fn report(folder: &std::path::Path) -> Result<()> {
    let html = nb_report::run_report(&RunRecord::read(folder)?)?;
    write_whole(&folder.join(REPORT), html.as_bytes())
}

/// Evaluates a model: one that was trained as it was saved at its best, a frozen teacher as it is.
fn measured<'a, K: Task>(
    run: &'a Run<'_, K>,
    role: Role,
    model: &'a Model<K::Head>,
    processes: &ProcessGroup,
) -> Result<Finished<'a>> {
    let evaluate = |model: &Model<K::Head>, split| run.task.evaluate(model, split, processes);
    let has_test = run.task.has_test();
    let bert = &model.bert;
    if role == Role::Teacher && run.plan.method.teacher == TeacherRole::Frozen {
        let folder = run.plan.trained[0].display().to_string();
        let dev = Some(evaluate(model, SplitName::Dev)?);
        let test = has_test.then(|| evaluate(model, SplitName::Test)).transpose()?;
        return Ok(Finished { role, bert, folder, best_step: None, dev, test, speed: Speed::default() });
    }
    let best = run.state.best.iter().find(|best| best.role() == role).and_then(Best::evaluation);
    let mut test = None;
    if has_test {
        let saved = run.folder.path().join(role.name());
        let saved = build::saved_model_from_main(&saved, run.plan, run.task, bert.config(), processes)?;
        test = Some(evaluate(&saved, SplitName::Test)?);
    }
    Ok(Finished {
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
