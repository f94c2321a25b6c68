//! The run: plan in, trained models and a summary out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nb_model::Arena;
use serde_json::{Map, Value, json};
use tch::Device;

use crate::adamw::{AdamW, Group, settle};
use crate::best::Best;
use crate::clock::Clock;
use crate::config::EvalEvery;
use crate::finish::finish;
use crate::folder::{RunFolder, Unfinished};
use crate::method::TermKind;
use crate::models::{Model, Models, Role};
use crate::origin;
use crate::plan::{Plan, TaskPlan};
use crate::prepare::prepare_teacher;
use crate::progress::Progress;
use crate::report::Summary;
use crate::schedule::{Moment, Timeline};
use crate::step::Stepper;
use crate::task::{Layers, Recommend, Retrieve, SplitName, Task, Topic};
use crate::watch::{StepReport, Watch};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// With all its steps, or by early stopping.
    Finished(Box<Summary>),
    /// By a signal, after the step that was under way; the best models so far are kept.
    Interrupted,
}

/// Gives libtorch's and this project's kernels the same number of threads. To be called once, before either works.
///
/// # Errors
/// If threads were started before.
pub fn set_threads(threads: usize) -> Result<()> {
    tch::set_num_threads(threads as i32);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot set the number of threads")
}

/// Runs a plan; a frozen teacher that was not trained yet is trained first, in a run folder of its own.
///
/// # Errors
/// If data, checkpoints or the run folder cannot be used, or if a loss is not finite.
pub fn run(plan: &Plan, unfinished: Unfinished, stop: &Arc<AtomicBool>) -> Result<Outcome> {
    RunFolder::check(&plan.output, unfinished)?;
    let Some(plan) = prepare_teacher(plan, unfinished, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    let plan = plan.as_ref();
    match &plan.data.task {
        TaskPlan::Topic(files) => run_task(plan, &Topic::open(plan, files)?, unfinished, stop),
        TaskPlan::Recommend(files) => run_task(plan, &Recommend::open(plan, files)?, unfinished, stop),
        TaskPlan::Retrieve(files) => run_task(plan, &Retrieve::open(plan, files)?, unfinished, stop),
    }
}

fn run_task<K: Task>(plan: &Plan, task: &K, unfinished: Unfinished, stop: &Arc<AtomicBool>) -> Result<Outcome> {
    let sources = origin::sources(plan)?;
    let models = Models::build(plan, task)?;
    if stop.load(Ordering::Relaxed) {
        tracing::warn!("stopped before the first step; nothing was written");
        return Ok(Outcome::Interrupted);
    }
    let folder = RunFolder::create(&plan.output, &plan.resolved, unfinished)?;
    Run::new(plan, task, models, (folder, sources)).train(stop)
}

/// A run under way.
pub(crate) struct Run<'a, K: Task> {
    pub(crate) plan: &'a Plan,
    pub(crate) task: &'a K,
    pub(crate) models: Models<K::Top>,
    pub(crate) folder: RunFolder,
    pub(crate) best: Vec<Best>,
    pub(crate) clock: Clock,
    /// What the result depends on beside the configuration.
    pub(crate) sources: Map<String, Value>,
    /// By term, the steps that had nothing to compute it from.
    pub(crate) without_unit: BTreeMap<TermKind, u64>,
    groups: Vec<Group>,
    stepper: Stepper,
    timeline: Timeline,
}

impl<'a, K: Task> Run<'a, K> {
    fn new(
        plan: &'a Plan,
        task: &'a K,
        models: Models<K::Top>,
        (folder, sources): (RunFolder, Map<String, Value>),
    ) -> Self {
        let timeline = timeline(plan, &updates(plan, task));
        let roles = models.trained(plan.method.teacher).map(|(role, _)| Best::new(role, task.primary_metric()));
        Self {
            best: roles.collect(),
            groups: groups(plan, &models),
            clock: Clock::default(),
            without_unit: BTreeMap::new(),
            plan,
            task,
            models,
            stepper: stepper(plan),
            timeline,
            folder,
            sources,
        }
    }

    fn train(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let total = self.timeline.total();
        let mut progress = Progress::new(total);
        let mut step = 0;
        'training: for epoch in 0.. {
            let rows = self.task.epoch(epoch);
            let updates = rows.chunks(self.plan.train.accumulate);
            let last = updates.len() - 1;
            for (i, update) in updates.enumerate() {
                let moment = self.timeline.at(step);
                if moment.own == 0 {
                    self.best.iter_mut().for_each(Best::begin_stage);
                }
                step += 1;
                let logs = step.is_multiple_of(self.plan.train.log_every) || step == total;
                if let Some(report) = self.step(epoch, update, moment, logs)? {
                    progress.step(step, &report, self.clock.tokens_per_second());
                    if logs {
                        self.log(epoch, moment, &report)?;
                    }
                }
                if is_evaluation(self.plan, &self.timeline, moment, i == last) {
                    let worse = progress.aside(|| self.evaluate(step, epoch))?;
                    let is_last = moment.stage + 1 == self.plan.method.stages.len(); // earlier ones are for what follows
                    if is_last && self.plan.train.patience.is_some_and(|patience| worse >= patience) {
                        progress.aside(|| tracing::info!("no better metric in {worse} evaluations: stopping early"));
                        break 'training;
                    }
                }
                if step == total {
                    break 'training;
                }
                if stop.load(Ordering::Relaxed) {
                    progress.finish();
                    return Ok(self.interrupted(step));
                }
            }
        }
        progress.finish();
        let summary = finish(&self, step)?;
        Ok(Outcome::Finished(Box::new(summary)))
    }

    /// One update; reported where that costs no waiting, and where a line of the log is due.
    fn step(&mut self, epoch: u64, update: &[Vec<u32>], moment: Moment, logs: bool) -> Result<Option<StepReport>> {
        let begin = Instant::now();
        let at = (moment, if logs { Watch::Models } else { Watch::Terms });
        let stepped = self.stepper.update((self.task, &mut self.models), &mut self.groups, (epoch, update), at);
        let report = (logs || self.plan.device == Device::Cpu).then(|| stepped.read());
        self.clock.add(moment.step, begin.elapsed(), stepped.counts);
        for term in &self.stepper.method.stages[moment.stage].terms {
            if stepped.counts.units(term.kind) == 0 {
                *self.without_unit.entry(term.kind).or_default() += 1;
            }
        }
        if let Some(what) = report.as_ref().and_then(StepReport::not_finite) {
            bail!("step {}: {what}; {}. A lower train.lr is the usual remedy", moment.step + 1, self.kept());
        }
        Ok(report)
    }

    /// Evaluates the models that are trained and saves those that are the best so far. Returns how many evaluations the model
    /// that counts (the student, where there is one) has not become better.
    fn evaluate(&mut self, step: u64, epoch: u64) -> Result<u64> {
        settle(&mut self.groups);
        let kept = self.kept();
        let mut line = json!({"event": "eval", "step": step, "epoch": epoch});
        let mut worse = 0;
        for ((role, model), best) in self.models.trained(self.plan.method.teacher).zip(&mut self.best) {
            let evaluation = self.task.evaluate(&model.bert, &model.top, SplitName::Dev);
            let evaluation = evaluation.with_context(|| format!("step {step}: {}; {kept}", role.name()))?;
            tracing::info!("step {step}: {} {}", role.name(), evaluation.line());
            line[role.name()] = evaluation.to_json().into();
            worse = best.offer(step, evaluation, self.folder.path(), |folder| save(self.task, model, folder))?;
        }
        self.folder.log(&line)?;
        Ok(worse)
    }

    fn log(&mut self, epoch: u64, moment: Moment, report: &StepReport) -> Result<()> {
        let mut line = json!({"event": "step", "step": moment.step + 1, "epoch": epoch, "stage": moment.stage});
        report.to_json(&self.plan.method).into_iter().for_each(|(key, value)| line[key] = value);
        let train = &self.plan.train;
        for (key, value) in [
            ("lr", train.lr * moment.rate),
            ("head_lr", train.head_lr * moment.rate),
            ("teacher_lr", train.teacher_lr * moment.rate),
            ("samples_per_second", self.clock.samples_per_second()),
            ("sequences_per_second", self.clock.sequences_per_second()),
            ("tokens_per_second", self.clock.tokens_per_second()),
        ] {
            line[key] = json!(value);
        }
        line["samples"] = json!(report.counts.rows);
        self.folder.log(&line)
    }

    fn interrupted(&self, step: u64) -> Outcome {
        tracing::warn!("stopped after step {step} of {}; {}", self.timeline.total(), self.kept());
        Outcome::Interrupted
    }

    /// What is there of a run that did not come to its end.
    fn kept(&self) -> String {
        let saved: Vec<_> = self.best.iter().filter(|b| b.is_saved()).map(|b| b.role().name()).collect();
        let folder = self.folder.path().display();
        match saved.as_slice() {
            [] => format!("no model was saved yet in {folder}"),
            names => format!("the best {} so far is kept in {folder}", names.join(" and ")),
        }
    }
}

fn save<K: Task>(task: &K, model: &Model<K::Top>, folder: &std::path::Path) -> Result<()> {
    model.bert.save(folder)?;
    task.save(&model.top, folder)
}

/// What every step of a plan's run has in common.
pub fn stepper(plan: &Plan) -> Stepper {
    Stepper {
        method: plan.method.clone(),
        optimiser: AdamW::new(plan.train.weight_decay),
        clip: plan.train.clip,
        seed: plan.seed,
    }
}

/// The stages of the whole run, whose epochs have these updates.
pub(crate) fn timeline(plan: &Plan, updates: &[u64]) -> Timeline {
    let shares: Vec<f64> = plan.method.stages.iter().map(|stage| stage.share).collect();
    let total = updates.iter().sum::<u64>().min(plan.train.max_steps.unwrap_or(u64::MAX));
    Timeline::new(total, plan.train.warmup, &shares)
}

/// Updates of each epoch, up to the one in which `train.max_steps` is reached.
pub(crate) fn updates<K: Task>(plan: &Plan, task: &K) -> Vec<u64> {
    let most = plan.train.max_steps.unwrap_or(u64::MAX);
    let (mut updates, mut steps) = (Vec::new(), 0);
    for epoch in 0..plan.train.epochs {
        if steps >= most {
            break; // every further epoch would be shuffled for nothing
        }
        updates.push(task.epoch(epoch).len().div_ceil(plan.train.accumulate) as u64);
        steps += updates[updates.len() - 1];
    }
    updates
}

/// Whether an evaluation follows the step at `moment`: at their time and at the end; where a stage trains nothing that a
/// metric could see there are none.
pub(crate) fn is_evaluation(plan: &Plan, timeline: &Timeline, moment: Moment, end_of_epoch: bool) -> bool {
    let step = moment.step + 1;
    if step == timeline.total() {
        return true;
    }
    let due = match plan.train.eval_every {
        EvalEvery::Epoch => end_of_epoch,
        EvalEvery::Steps(n) => step.is_multiple_of(n),
    };
    due && plan.method.stages[moment.stage].any(TermKind::needs_outputs)
}

/// The optimiser's groups: each distinct arena once, with the peak rate of its place.
pub fn groups<T: Layers>(plan: &Plan, models: &Models<T>) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut seen = Vec::new();
    let mut add = |arena: &Arena, peak| {
        let identity = arena.values().data_ptr(); // shared top layers are one arena
        if !seen.contains(&identity) {
            seen.push(identity);
            groups.push(Group::new(arena, peak));
        }
    };
    for (role, model) in models.trained(plan.method.teacher) {
        let encoder = match role {
            Role::Teacher => plan.train.teacher_lr,
            Role::Student => plan.train.lr,
        };
        add(model.arena(), encoder);
        model.top.arenas().into_iter().for_each(|arena| add(arena, plan.train.head_lr));
    }
    models.extra_arenas().into_iter().for_each(|arena| add(arena, plan.train.head_lr));
    groups
}
