//! The run: plan in, trained models and a summary out.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nb_dist::ProcessGroup;
use serde_json::{Map, Value, json};
use tch::{Device, Tensor};

use crate::adamw::{Group, settle};
use crate::best::Best;
use crate::checkpoint::{Checkpoints, Identity, Saved, State};
use crate::config::{CheckpointEvery, NotFiniteChoice, OnCheckpointError};
use crate::finish::finish;
use crate::folder::{RunFolder, Unfinished};
use crate::models::{Model, Models};
use crate::origin;
use crate::plan::{Plan, TaskPlan};
use crate::prepare::{finished, prepare_teacher};
use crate::progress::Progress;
use crate::report::Summary;
use crate::resume::Start;
use crate::schedule::{Moment, Timeline};
use crate::setup::{groups, is_evaluation, stepper, timeline, updates};
use crate::step::Stepper;
use crate::task::{Recommend, Retrieve, SplitName, Task, Topic};
use crate::together::{self, Wishes, first_finds, one_here_before_others};
use crate::watch::{StepReport, Watch};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// With all its steps, or by early stopping.
    Finished(Box<Summary>),
    /// It was to go on, but it was at its end already: its folder.
    FinishedBefore(PathBuf),
    /// As the first process, which alone writes, has said in this folder.
    FinishedByFirst(PathBuf),
    /// By a signal, after the step that was under way; the best models so far are kept.
    Interrupted,
}

/// Gives libtorch's and this project's kernels the same number of threads. To be called once, before either works.
///
/// # Errors
/// If threads were started before.
pub fn set_threads(threads: usize) -> Result<()> {
    nb_kernels::threads::set(threads);
    tch::set_num_threads(threads as i32);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot set the number of threads")
}

/// Runs a plan on `processes`, all of which call this; a frozen teacher that was not trained yet is trained first, in a run
/// folder of its own. Data and checkpoints are to be there for all processes, the run folder for the first alone, and for
/// the others too where a frozen teacher is trained first.
///
/// # Errors
/// If data, checkpoints or the run folder cannot be used, if a run that is to go on was another one, if a loss is not finite,
/// or if a process is lost.
pub fn run(
    plan: &Plan,
    unfinished: &Unfinished,
    stop: &Arc<AtomicBool>,
    processes: &Rc<ProcessGroup>,
) -> Result<Outcome> {
    together::check(plan, processes)?;
    together::check_plans(processes, plan)?;
    first_finds(processes, || RunFolder::check(&plan.output, unfinished))?;
    let Some(plan) = prepare_teacher(plan, unfinished, stop, processes)? else {
        return Ok(Outcome::Interrupted);
    };
    let plan = plan.as_ref();
    let before = || {
        let goes_on = matches!(unfinished, Unfinished::Resume(_)) && RunFolder::unfinished(&plan.output)?.is_none();
        let folder = if goes_on { finished(plan)? } else { None };
        folder.iter().for_each(|folder| RunFolder::tidy(folder));
        Ok(folder)
    };
    if let Some(folder) = first_finds(processes, before)? {
        let is_first = processes.is_first();
        return Ok(if is_first { Outcome::FinishedBefore(folder) } else { Outcome::FinishedByFirst(folder) });
    }
    let control = (unfinished, stop, processes);
    match &plan.data.task {
        TaskPlan::Topic(files) => {
            run_task(plan, &one_here_before_others(processes, || Topic::open(plan, files))?, control)
        }
        TaskPlan::Recommend(files) => {
            run_task(plan, &one_here_before_others(processes, || Recommend::open(plan, files))?, control)
        }
        TaskPlan::Retrieve(files) => {
            run_task(plan, &one_here_before_others(processes, || Retrieve::open(plan, files))?, control)
        }
    }
}

fn run_task<K: Task>(
    plan: &Plan,
    task: &K,
    (unfinished, stop, processes): (&Unfinished, &Arc<AtomicBool>, &Rc<ProcessGroup>),
) -> Result<Outcome> {
    let work = processes.at_work();
    let sources = origin::sources(plan)?;
    let identity = Identity::new(&plan.resolved, &sources)?;
    together::check_sources(processes, &identity)?;
    let start = processes.is_first().then(|| Start::find(plan, &identity, unfinished)).transpose()?;
    let mut models = one_here_before_others(processes, || Models::build(plan, task))?;
    let mut groups = groups(plan, &models);
    let wishes = Wishes { stops: stop.load(Ordering::Relaxed), saves: false };
    if together::agree(processes, wishes)?.stops {
        tracing::warn!("stopped before the first step; nothing was written");
        return Ok(Outcome::Interrupted);
    }
    let updates = updates(plan, task);
    let timeline = timeline(plan, &updates);
    let fresh = || {
        let roles = models.trained(plan.method.teacher).map(|(role, _)| Best::new(role, task.primary_metric()));
        State { best: roles.collect(), ..State::default() }
    };
    let (folder, state) = match start {
        None => (RunFolder::of_another(plan.output.clone()), State::default()),
        Some(Start::Free) => (RunFolder::create(&plan.output, &plan.resolved, unfinished)?, fresh()),
        Some(Start::Anew(halted)) => (halted.begin_anew(&plan.resolved)?, fresh()),
        Some(Start::After(resumed)) => resumed.restore(&plan.resolved, timeline.total(), &mut groups)?,
    };
    let state = first_finds(processes, || Ok(state))?;
    together::hand_out(processes, &groups)?;
    models.parameters_changed(plan.method.teacher); // the bf16 weights follow what was restored
    drop(work);
    let run = Run {
        plan,
        task,
        models,
        left_out: Tensor::from(state.left_out as i64).to_device(plan.device),
        checkpoints: Checkpoints::new(folder.path(), plan.checkpoints.every, plan.checkpoints.keep),
        folder,
        state,
        sources,
        groups,
        stepper: stepper(plan, processes),
        timeline,
        updates,
        identity,
    };
    run.train(stop)
}

/// A run under way.
pub(crate) struct Run<'a, K: Task> {
    pub(crate) plan: &'a Plan,
    pub(crate) task: &'a K,
    pub(crate) models: Models<K::Top>,
    pub(crate) folder: RunFolder,
    pub(crate) state: State,
    /// What the result depends on beside the configuration.
    pub(crate) sources: Map<String, Value>,
    pub(crate) checkpoints: Checkpoints,
    groups: Vec<Group>,
    stepper: Stepper,
    timeline: Timeline,
    /// Of each epoch.
    updates: Vec<u64>,
    /// Updates left out, counted on the device.
    left_out: Tensor,
    identity: Identity,
}

impl<K: Task> Run<'_, K> {
    /// From where its state stands to its end.
    fn train(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let total = self.timeline.total();
        let mut progress = if self.folder.is_ours() { Progress::new(total) } else { Progress::of_another(total) };
        let mut before = 0; // updates of the epochs before
        'training: for (epoch, count) in (0..).zip(self.updates.clone()) {
            let done = self.state.step.saturating_sub(before).min(count);
            before += count;
            if done == count {
                continue; // a run that goes on
            }
            let rows = self.task.epoch(epoch);
            let updates = rows.chunks(self.plan.train.accumulate);
            for (i, update) in (1..).zip(updates).skip(done as usize) {
                let moment = self.timeline.at(self.state.step);
                if moment.own == 0 {
                    self.state.best.iter_mut().for_each(Best::begin_stage);
                }
                self.state.step += 1;
                let step = self.state.step;
                let logs = step.is_multiple_of(self.plan.train.log_every) || step == total;
                if let Some(report) = self.step(epoch, update, moment, logs)? {
                    progress.step(step, &report, self.state.clock.tokens_per_second());
                    if logs {
                        self.log(epoch, moment, &report)?;
                    }
                }
                if is_evaluation(self.plan, &self.timeline, moment, i == count) {
                    let worse = progress.aside(|| self.evaluate(epoch))?;
                    let is_last = moment.stage + 1 == self.plan.method.stages.len(); // earlier ones are for what follows
                    if is_last && self.plan.train.patience.is_some_and(|patience| worse >= patience) {
                        progress.aside(|| tracing::info!("no better metric in {worse} evaluations: stopping early"));
                        break 'training;
                    }
                }
                if step == total {
                    break 'training;
                }
                let due = self.checkpoints.is_due(step);
                let wishes = Wishes { stops: stop.load(Ordering::Relaxed), saves: due };
                let Wishes { stops, saves } = together::agree(&self.stepper.processes, wishes)?;
                let saves = saves || stops && self.plan.checkpoints.every != CheckpointEvery::Never;
                let is_saved = saves && progress.aside(|| self.checkpoint())?;
                if stops {
                    progress.finish();
                    return Ok(self.interrupted(is_saved));
                }
            }
        }
        progress.finish();
        self.look_at_left_out(None)?;
        let processes = Rc::clone(&self.stepper.processes);
        let summary = finish(&self, &processes)?;
        let folder = first_finds(&processes, || Ok(self.folder.path().to_owned()))?; // the others wait for what is left
        Ok(summary.map_or(Outcome::FinishedByFirst(folder), |summary| Outcome::Finished(Box::new(summary))))
    }

    /// Saves what is needed to go on from here; says whether it could.
    fn checkpoint(&mut self) -> Result<bool> {
        settle(&mut self.groups);
        self.look_at_left_out(None)?;
        if !self.folder.is_ours() {
            return Ok(true); // if the first process could not, it says so, and ends all if it is to
        }
        let processes = Rc::clone(&self.stepper.processes);
        let _work = processes.at_work();
        let (state, identity) = (self.state.clone(), self.identity.clone());
        let groups = &self.groups;
        let checkpoints = &mut self.checkpoints;
        let saved =
            self.folder.sync().and_then(|metrics| checkpoints.save(&Saved { state, metrics, identity }, groups));
        match (saved, self.plan.checkpoints.on_error) {
            (Err(e), OnCheckpointError::GoOn) => {
                tracing::warn!("no checkpoint at step {}, earlier ones stay: {e:#}", self.state.step);
                Ok(false)
            }
            (saved, _) => {
                saved.with_context(|| format!("step {}: {}", self.state.step, self.kept()))?;
                Ok(true)
            }
        }
    }

    /// One update; reported where that costs no waiting, and where a line of the log is due.
    fn step(&mut self, epoch: u64, update: &[Vec<u32>], moment: Moment, logs: bool) -> Result<Option<StepReport>> {
        let begin = Instant::now();
        let at = (moment, if logs { Watch::Models } else { Watch::Terms });
        let stepped = self.stepper.update((self.task, &mut self.models), &mut self.groups, (epoch, update), at)?;
        let report = (logs || self.plan.device == Device::Cpu).then(|| stepped.read());
        self.state.clock.add(moment.step, begin.elapsed(), stepped.counts);
        for term in &self.stepper.method.stages[moment.stage].terms {
            if stepped.counts.units(term.kind) == 0 {
                *self.state.without_unit.entry(term.kind).or_default() += 1;
            }
        }
        let _ = self.left_out.g_add_(&stepped.left_out); // on the device, which nobody waits for
        if let Some(report) = &report {
            self.look_at_left_out(Some(report))?;
        }
        Ok(report)
    }

    /// Where the device is waited for anyway: whether updates were left out since the last look, because they were not
    /// finite.
    fn look_at_left_out(&mut self, report: Option<&StepReport>) -> Result<()> {
        let step = self.state.step;
        let now = self.left_out.int64_value(&[]) as u64;
        let new = now - std::mem::replace(&mut self.state.left_out, now);
        if new == 0 {
            return Ok(());
        }
        let what = report
            .and_then(StepReport::not_finite)
            .unwrap_or_else(|| format!("{new} updates since the last look were not finite"));
        match self.plan.train.not_finite {
            NotFiniteChoice::Stop => {
                bail!("step {step}: {what}; {}. A lower train.lr is the usual remedy", self.kept())
            }
            NotFiniteChoice::Skip => tracing::warn!("step {step}: {what}; left out, {now} so far"),
        }
        Ok(())
    }

    /// Evaluates the models that are trained and saves those that are the best so far. Returns how many evaluations the model
    /// that counts (the student, where there is one) has not become better.
    fn evaluate(&mut self, epoch: u64) -> Result<u64> {
        let processes = Rc::clone(&self.stepper.processes);
        settle(&mut self.groups);
        if !together::keep_equal(&processes, &self.groups)? {
            self.models.parameters_changed(self.plan.method.teacher);
        }
        let (kept, step) = (self.kept(), self.state.step);
        let mut line = json!({"event": "eval", "step": step, "epoch": epoch});
        let mut worse = 0;
        for ((role, model), best) in self.models.trained(self.plan.method.teacher).zip(&mut self.state.best) {
            let evaluation = self.task.evaluate(model, SplitName::Dev, &processes);
            let evaluation = evaluation.with_context(|| format!("step {step}: {}; {kept}", role.name()))?;
            tracing::info!("step {step}: {} {}", role.name(), evaluation.line());
            line[role.name()] = evaluation.to_json().into();
            let _work = processes.at_work();
            let folder = &self.folder;
            worse = best.offer(step, evaluation, || match folder.is_ours() {
                true => Best::save(role, folder.path(), |folder| save(self.task, model, folder)),
                false => Ok(String::new()), // a hash for the first process to compare
            })?;
        }
        self.folder.log(&line)?;
        first_finds(&processes, || Ok(worse))
    }

    fn log(&mut self, epoch: u64, moment: Moment, report: &StepReport) -> Result<()> {
        let mut line = json!({"event": "step", "step": moment.step + 1, "epoch": epoch, "stage": moment.stage});
        report.to_json(&self.plan.method).into_iter().for_each(|(key, value)| line[key] = value);
        let train = &self.plan.train;
        for (key, value) in [
            ("lr", train.lr * moment.rate),
            ("head_lr", train.head_lr * moment.rate),
            ("teacher_lr", train.teacher_lr * moment.rate),
            ("samples_per_second", self.state.clock.samples_per_second()),
            ("sequences_per_second", self.state.clock.sequences_per_second()),
            ("tokens_per_second", self.state.clock.tokens_per_second()),
        ] {
            line[key] = json!(value);
        }
        line["samples"] = json!(report.counts.rows);
        self.folder.log(&line)
    }

    fn interrupted(&self, is_saved: bool) -> Outcome {
        let goes_on = if is_saved { "; --resume goes on from here" } else { "" };
        tracing::warn!("stopped after step {} of {}; {}{goes_on}", self.state.step, self.timeline.total(), self.kept());
        Outcome::Interrupted
    }

    /// What is there of a run that did not come to its end.
    fn kept(&self) -> String {
        let saved: Vec<_> = self.state.best.iter().filter(|b| b.is_saved()).map(|b| b.role().name()).collect();
        let folder = self.folder.path().display();
        match saved.as_slice() {
            [] => format!("no model was saved yet in {folder}"),
            names => format!("the best {} so far is kept in {folder}", names.join(" and ")),
        }
    }
}

fn save<K: Task>(task: &K, model: &Model<K::Top>, folder: &Path) -> Result<()> {
    model.bert.save(folder)?;
    task.save(&model.top, folder)
}
