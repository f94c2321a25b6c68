//! The run: plan in, trained models and a summary out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::adamw::{AdamW, Group};
use crate::best::Best;
use crate::config::EvalEvery;
use crate::folder::{RunFolder, Unfinished};
use crate::models::{Model, Models, Role};
use crate::plan::{Plan, TaskPlan};
use crate::progress::Progress;
use crate::report::{Finished, Summary, TrainReport, speed, summarise};
use crate::schedule::Schedule;
use crate::step::{StepReport, Stepper};
use crate::task::{Layers, Recommend, Retrieve, Task, Topic};
use crate::terms::Counts;

/// Steps whose time does not count in the speed: first touches of memory, kernels chosen.
const WARM_UP_STEPS: u64 = 3;

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

/// Runs a plan.
///
/// # Errors
/// If data, checkpoints or the run folder cannot be used, or if a loss is not finite.
pub fn run(plan: &Plan, unfinished: Unfinished, stop: &Arc<AtomicBool>) -> Result<Outcome> {
    RunFolder::check(&plan.output, unfinished)?;
    match &plan.data.task {
        TaskPlan::Topic(files) => run_task(plan, &Topic::open(plan, files)?, unfinished, stop),
        TaskPlan::Recommend(files) => run_task(plan, &Recommend::open(plan, files)?, unfinished, stop),
        TaskPlan::Retrieve(files) => run_task(plan, &Retrieve::open(plan, files)?, unfinished, stop),
    }
}

fn run_task<K: Task>(plan: &Plan, task: &K, unfinished: Unfinished, stop: &Arc<AtomicBool>) -> Result<Outcome> {
    let models = Models::build(plan, task)?;
    if stop.load(Ordering::Relaxed) {
        tracing::warn!("stopped before the first step; nothing was written");
        return Ok(Outcome::Interrupted);
    }
    let folder = RunFolder::create(&plan.output, &plan.resolved, unfinished)?;
    Run::new(plan, task, models, folder).train(stop)
}

/// A run under way.
struct Run<'a, K: Task> {
    plan: &'a Plan,
    task: &'a K,
    models: Models<K::Top>,
    groups: Vec<Group>,
    stepper: Stepper,
    schedule: Schedule,
    total: u64,
    folder: RunFolder,
    best: Vec<Best>,
    clock: Clock,
}

impl<'a, K: Task> Run<'a, K> {
    fn new(plan: &'a Plan, task: &'a K, models: Models<K::Top>, folder: RunFolder) -> Self {
        let total = total_steps(plan, task);
        let stepper = Stepper {
            method: plan.method.clone(),
            optimiser: AdamW::new(plan.train.weight_decay),
            clip: plan.train.clip,
            seed: plan.seed,
        };
        let best = models.named().map(|(role, _)| Best::new(role, task.primary_metric())).collect();
        Self {
            groups: groups(plan, &models),
            schedule: Schedule::new(total, plan.train.warmup),
            clock: Clock::default(),
            plan,
            task,
            models,
            stepper,
            total,
            folder,
            best,
        }
    }

    fn train(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let mut progress = Progress::new(self.total);
        let mut step = 0;
        'training: for epoch in 0.. {
            let rows = self.task.epoch(epoch);
            let updates = rows.chunks(self.plan.train.accumulate);
            let last = updates.len() - 1;
            for (i, update) in updates.enumerate() {
                let report = self.step(epoch, update, step)?;
                step += 1;
                progress.step(step, &report, self.clock.tokens_per_second());
                if step % self.plan.train.log_every == 0 || step == self.total {
                    self.log(step, epoch, &report)?;
                }
                if self.is_evaluation(step, i == last) {
                    let worse = progress.aside(|| self.evaluate(step, epoch))?;
                    if self.plan.train.patience.is_some_and(|patience| worse >= patience) {
                        progress.aside(|| tracing::info!("no better metric in {worse} evaluations: stopping early"));
                        break 'training;
                    }
                }
                if step == self.total {
                    break 'training;
                }
                if stop.load(Ordering::Relaxed) {
                    progress.finish();
                    return Ok(self.interrupted(step));
                }
            }
        }
        progress.finish();
        self.finish(step)
    }

    fn step(&mut self, epoch: u64, update: &[Vec<u32>], step: u64) -> Result<StepReport> {
        let begin = Instant::now();
        let batches: Vec<K::Batch> = update.iter().map(|rows| self.task.batch(epoch, rows)).collect();
        let at = (step, self.schedule.factor(step));
        let report = self.stepper.step((self.task, &mut self.models), &mut self.groups, &batches, at);
        self.clock.add(step, begin.elapsed(), report.counts);
        if let Some(what) = report.not_finite() {
            bail!("step {}: {what}; {}. A lower train.lr is the usual remedy", step + 1, self.kept());
        }
        Ok(report)
    }

    fn is_evaluation(&self, step: u64, end_of_epoch: bool) -> bool {
        step == self.total
            || match self.plan.train.eval_every {
                EvalEvery::Epoch => end_of_epoch,
                EvalEvery::Steps(n) => step.is_multiple_of(n),
            }
    }

    /// Evaluates both models and saves those that are the best so far. Returns how many evaluations the model that counts
    /// (the student, where there is one) has not become better.
    fn evaluate(&mut self, step: u64, epoch: u64) -> Result<u64> {
        let kept = self.kept();
        let mut line = json!({"event": "eval", "step": step, "epoch": epoch});
        let mut worse = 0;
        for ((role, model), best) in self.models.named().zip(&mut self.best) {
            let evaluation = self.task.evaluate(&model.bert, &model.top);
            let evaluation = evaluation.with_context(|| format!("step {step}: {}; {kept}", role.name()))?;
            tracing::info!("step {step}: {} {}", role.name(), evaluation.line());
            line[role.name()] = evaluation.to_json().into();
            worse = best.offer(step, evaluation, self.folder.path(), |folder| save(self.task, model, folder))?;
        }
        self.folder.log(&line)?;
        Ok(worse)
    }

    fn log(&mut self, step: u64, epoch: u64, report: &StepReport) -> Result<()> {
        let terms: serde_json::Map<_, _> =
            report.terms.iter().map(|(kind, v)| (kind.name().to_owned(), json!(v))).collect();
        let factor = self.schedule.factor(step - 1);
        self.folder.log(&json!({
            "event": "step", "step": step, "epoch": epoch, "loss": report.total, "terms": terms,
            "gradient_norm": report.gradient_norm, "lr": self.plan.train.lr * factor,
            "head_lr": self.plan.train.head_lr * factor, "teacher_lr": self.plan.train.teacher_lr * factor,
            "samples": report.counts.rows, "samples_per_second": self.clock.samples_per_second(),
            "sequences_per_second": self.clock.sequences_per_second(), "tokens_per_second": self.clock.tokens_per_second(),
        }))
    }

    fn interrupted(&self, step: u64) -> Outcome {
        tracing::warn!("stopped after step {step} of {}; {}", self.total, self.kept());
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

    fn finish(self, steps: u64) -> Result<Outcome> {
        let train = TrainReport {
            steps,
            seconds: self.clock.seconds(),
            samples: self.clock.all.samples,
            samples_per_second: self.clock.samples_per_second(),
            sequences_per_second: self.clock.sequences_per_second(),
            tokens_per_second: self.clock.tokens_per_second(),
        };
        let probe = self.task.probe();
        let models: Vec<Finished<'_>> = self
            .models
            .named()
            .zip(&self.best)
            .map(|((role, model), best)| {
                let speed = speed(&probe, |batch| self.time(model, batch));
                Finished { role, bert: &model.bert, best, speed }
            })
            .collect();
        let summary = summarise(self.plan, self.task.name(), self.folder.path(), train, &models);
        self.folder.finish(&summary.json)?;
        Ok(Outcome::Finished(Box::new(summary)))
    }

    /// One inference pass, top layers included.
    fn time(&self, model: &Model<K::Top>, batch: &nb_data::TokenBatch) -> Duration {
        let begin = Instant::now();
        self.task.infer(&model.bert, &model.top, batch);
        begin.elapsed()
    }
}

fn save<K: Task>(task: &K, model: &Model<K::Top>, folder: &std::path::Path) -> Result<()> {
    model.bert.save(folder)?;
    task.save(&model.top, folder)
}

/// Updates of the whole run.
pub(crate) fn total_steps<K: Task>(plan: &Plan, task: &K) -> u64 {
    let most = plan.train.max_steps.unwrap_or(u64::MAX);
    let mut steps = 0;
    for epoch in 0..plan.train.epochs {
        if steps >= most {
            break; // every further epoch would be shuffled for nothing
        }
        steps += task.epoch(epoch).len().div_ceil(plan.train.accumulate) as u64;
    }
    steps.min(most)
}

/// The optimiser's groups: each distinct arena once, with the peak rate of its place.
pub fn groups<T: Layers>(plan: &Plan, models: &Models<T>) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut seen = Vec::new();
    for (role, model) in models.named() {
        let encoder = match role {
            Role::Teacher => plan.train.teacher_lr,
            Role::Student => plan.train.lr,
        };
        let tops = model.top.arenas().into_iter().map(|arena| (arena, plan.train.head_lr));
        for (arena, peak) in std::iter::once((model.arena(), encoder)).chain(tops) {
            let identity = arena.values().data_ptr(); // shared top layers are one arena
            if !seen.contains(&identity) {
                seen.push(identity);
                groups.push(Group::new(arena, peak));
            }
        }
    }
    groups
}

/// Time spent in steps, and what went through them.
#[derive(Debug, Default)]
struct Clock {
    all: Throughput,
    warm: Throughput,
}

#[derive(Debug, Default, Clone, Copy)]
struct Throughput {
    time: Duration,
    samples: i64,
    sequences: i64,
    tokens: i64,
}

impl Throughput {
    fn add(&mut self, took: Duration, counts: Counts) {
        self.time += took;
        self.samples += counts.rows;
        self.sequences += counts.pooled;
        self.tokens += counts.tokens;
    }

    fn per_second(self, count: i64) -> f64 {
        count as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl Clock {
    fn add(&mut self, step: u64, took: Duration, counts: Counts) {
        self.all.add(took, counts);
        if step >= WARM_UP_STEPS {
            self.warm.add(took, counts);
        }
    }

    fn seconds(&self) -> f64 {
        self.all.time.as_secs_f64()
    }

    /// Without the first steps, unless there are no others.
    fn settled(&self) -> Throughput {
        if self.warm.sequences > 0 { self.warm } else { self.all }
    }

    fn samples_per_second(&self) -> f64 {
        self.settled().per_second(self.settled().samples)
    }

    fn sequences_per_second(&self) -> f64 {
        self.settled().per_second(self.settled().sequences)
    }

    fn tokens_per_second(&self) -> f64 {
        self.settled().per_second(self.settled().tokens)
    }
}
