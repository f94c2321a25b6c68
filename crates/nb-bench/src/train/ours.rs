//! Our side of a training bench: a run's models and step, without its log and its evaluations.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};
use nb_dist::ProcessGroup;
use nb_model::profile;
use nb_train::method::TeacherRole;
use nb_train::model::{Models, Role};
use nb_train::optim::ParamGroup;
use nb_train::plan::Plan;
use nb_train::run::setup::{groups, stepper};
use nb_train::step::schedule::Schedule;
use nb_train::step::telemetry::Telemetry;
use nb_train::step::terms::Counts;
use nb_train::step::{Stepper, Update};
use nb_train::task::Task;
use serde_json::{Map, Value, json};
use tch::Device;

use crate::device::synchronise;
use crate::flops::{self, Passes};
use crate::memory::peak_bytes;
use crate::peer::Round;
use crate::report::Unit;

/// Steps before the first round: first touches of memory, kernels chosen.
const WARM_UP_STEPS: usize = 3;
/// Steps that the learning rate's course is made for: more than any bench makes.
const COURSE: u64 = 1_000_000;

/// A run's models, ready to step.
pub(super) struct Trainer<'a, K: Task> {
    plan: &'a Plan,
    task: &'a K,
    models: Models<K::Head>,
    groups: Vec<ParamGroup>,
    stepper: Stepper,
    timeline: Schedule,
    /// The batches of a round.
    rows: Vec<Vec<u32>>,
    step: u64,
}

impl<'a, K: Task> Trainer<'a, K> {
    /// Loads the models; a round makes `steps` steps, over the first batches of the first epoch.
    pub(super) fn new(plan: &'a Plan, task: &'a K, steps: usize) -> Result<Self> {
        let models = Models::build(plan, task)?;
        let epoch = task.epoch(0);
        let whole = epoch.iter().take(steps).cloned().cycle().take(steps); // a tiny corpus has fewer batches
        Ok(Self {
            groups: groups(plan, &models),
            stepper: stepper(plan, &Rc::new(ProcessGroup::alone())),
            timeline: Schedule::new(COURSE, plan.train.warmup, &[1.0]),
            rows: whole.collect(),
            step: 0,
            plan,
            task,
            models,
        })
    }

    /// The batches of a round.
    pub(super) fn batches(&self) -> Vec<K::Batch> {
        self.rows.iter().map(|rows| self.task.batch(0, rows)).collect()
    }

    /// Makes the steps that do not count.
    pub(super) fn warm_up(&mut self) -> Result<()> {
        self.steps(WARM_UP_STEPS)
    }

    /// Makes a round's steps.
    pub(super) fn round(&mut self, unit: Unit) -> Result<Round> {
        synchronise(self.plan.device);
        let begin = Instant::now();
        self.steps(self.rows.len())?;
        let seconds = begin.elapsed().as_secs_f64();
        let counts = self.counts();
        let sequences = if unit == Unit::Samples { counts.rows } else { counts.pooled };
        Ok(Round {
            seconds,
            sequences: sequences.unsigned_abs(),
            tokens: counts.tokens.unsigned_abs(),
            peak_bytes: peak_bytes(),
            latencies: Vec::new(),
        })
    }

    /// Where the time of a step goes, in milliseconds by phase; in steps of their own, since looking costs time.
    pub(super) fn phases(&mut self) -> Result<Value> {
        let steps = self.rows.len();
        synchronise(self.plan.device);
        profile::start(self.plan.device);
        let begin = Instant::now();
        let done = self.steps(steps);
        let whole = begin.elapsed().as_secs_f64();
        let times = profile::finish();
        done?;
        let milliseconds = |seconds: f64| json!(1e3 * seconds / steps as f64);
        let named: f64 = times.iter().map(|(_, time)| time.as_secs_f64()).sum();
        let mut phases: Map<String, Value> =
            times.iter().map(|(phase, time)| (phase.name().to_owned(), milliseconds(time.as_secs_f64()))).collect();
        phases.insert("other".to_owned(), milliseconds((whole - named).max(0.0)));
        Ok(phases.into())
    }

    /// Useful operations of a round.
    pub(super) fn operations(&self) -> f64 {
        let passes = |role| match (role, self.plan.method.teacher) {
            (Role::Teacher, TeacherRole::Frozen) => Passes::Forward,
            _ => Passes::ForwardAndBackward,
        };
        let models: Vec<_> = self.models.named().map(|(role, model)| (model.bert.config(), passes(role))).collect();
        flops::step(&models, &self.counts())
    }

    /// Mean number of real tokens of a step.
    pub(super) fn tokens_per_step(&self) -> i64 {
        self.counts().tokens / self.rows.len() as i64
    }

    /// What a round holds.
    fn counts(&self) -> Counts {
        let counts = self.rows.iter().map(|rows| self.task.counts(&self.task.batch(0, rows)));
        counts.fold(Counts::default(), std::ops::Add::add)
    }

    fn steps(&mut self, count: usize) -> Result<()> {
        for i in 0..count {
            let rows = std::slice::from_ref(&self.rows[i % self.rows.len()]);
            let position = self.timeline.at(self.step);
            let update = Update { epoch: 0, rows, position, telemetry: Telemetry::Terms };
            let stepped = self.stepper.update(self.task, &mut self.models, &mut self.groups, &update)?;
            self.step += 1;
            // As a run does: on the CPU each step is read, elsewhere that would be waiting.
            if self.plan.device == Device::Cpu
                && let Some(what) = stepped.read().not_finite()
            {
                bail!("step {}: {what}", self.step);
            }
        }
        synchronise(self.plan.device);
        Ok(())
    }
}
