//! Our side of a training bench: the models and the step of a run, without its log and evaluations.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};
use nb_dist::ProcessGroup;
use nb_model::profile;
use nb_train::method::TeacherRole;
use nb_train::model::{Models, Role};
use nb_train::optim::ParamGroup;
use nb_train::plan::Plan;
use nb_train::run::{groups, stepper};
use nb_train::step::{Counts, Schedule, Stepper, Telemetry, Update};
use nb_train::task::Task;
use tch::Device;

use crate::details::ByName;
use crate::device::synchronise;
use crate::flops::{self, ModelPasses, Passes};
use crate::memory::peak_bytes;
use crate::peer::Round;
use crate::report::Unit;

/// Number of steps before the first round, in which memory is touched and kernels are chosen for the first time.
const WARM_UP_STEPS: usize = 3;
/// Length of the learning-rate schedule: more steps than any bench runs.
const SCHEDULE_STEPS: u64 = 1_000_000;

/// The models of a run, ready to train.
pub(super) struct Trainer<'a, K: Task> {
    plan: &'a Plan,
    task: &'a K,
    models: Models<K::Head>,
    groups: Vec<ParamGroup>,
    stepper: Stepper,
    schedule: Schedule,
    /// The rows of each batch of a round.
    batch_rows: Vec<Vec<u32>>,
    step: u64,
}

impl<'a, K: Task> Trainer<'a, K> {
    /// Loads the models. A round runs `steps` steps over the first batches of the first epoch.
    pub(super) fn new(plan: &'a Plan, task: &'a K, steps: usize) -> Result<Self> {
        let models = Models::build(plan, task)?;
        let epoch = task.epoch(0);
        // A tiny corpus has fewer batches than steps, so the batches repeat.
        let batch_rows = epoch.iter().take(steps).cloned().cycle().take(steps).collect();
        Ok(Self {
            groups: groups(plan, &models),
            stepper: stepper(plan, &Rc::new(ProcessGroup::alone())),
            schedule: Schedule::new(SCHEDULE_STEPS, plan.train.warmup, &[1.0]),
            batch_rows,
            step: 0,
            plan,
            task,
            models,
        })
    }

    /// Returns the batches of a round.
    pub(super) fn batches(&self) -> Vec<K::Batch> {
        self.batch_rows.iter().map(|rows| self.task.batch(0, rows)).collect()
    }

    /// Runs the steps that are not timed.
    pub(super) fn warm_up(&mut self) -> Result<()> {
        self.steps(WARM_UP_STEPS)
    }

    /// Runs the steps of a round.
    pub(super) fn round(&mut self, unit: Unit) -> Result<Round> {
        synchronise(self.plan.device);
        let begin = Instant::now();
        self.steps(self.batch_rows.len())?;
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

    /// Returns the milliseconds per step of each phase. They are measured in separate steps because profiling costs time.
    pub(super) fn phases(&mut self) -> Result<ByName<f64>> {
        let steps = self.batch_rows.len();
        synchronise(self.plan.device);
        profile::start(self.plan.device);
        let begin = Instant::now();
        let result = self.steps(steps);
        let total = begin.elapsed().as_secs_f64();
        let times = profile::finish();
        result?;
        let milliseconds = |seconds: f64| 1e3 * seconds / steps as f64;
        let in_phases: f64 = times.iter().map(|(_, time)| time.as_secs_f64()).sum();
        let phases = times.iter().map(|(phase, time)| (phase.name().to_owned(), milliseconds(time.as_secs_f64())));
        let other = ("other".to_owned(), milliseconds((total - in_phases).max(0.0)));
        Ok(phases.chain([other]).collect())
    }

    /// Returns the useful operations of a round.
    pub(super) fn operations(&self) -> f64 {
        let passes = |role| match (role, self.plan.method.teacher) {
            (Role::Teacher, TeacherRole::Frozen) => Passes::Forward,
            _ => Passes::ForwardAndBackward,
        };
        let named = self.models.named();
        let models: Vec<_> =
            named.map(|(role, model)| ModelPasses { config: model.bert.config(), passes: passes(role) }).collect();
        flops::step(&models, &self.counts())
    }

    /// Returns the mean number of real tokens per step.
    pub(super) fn tokens_per_step(&self) -> i64 {
        self.counts().tokens / self.batch_rows.len() as i64
    }

    /// Returns the rows, texts and tokens of a round.
    fn counts(&self) -> Counts {
        let per_batch = self.batch_rows.iter().map(|rows| self.task.counts(&self.task.batch(0, rows)));
        per_batch.fold(Counts::default(), std::ops::Add::add)
    }

    /// Runs `count` steps and waits for the device.
    fn steps(&mut self, count: usize) -> Result<()> {
        for i in 0..count {
            let rows = std::slice::from_ref(&self.batch_rows[i % self.batch_rows.len()]);
            let position = self.schedule.at(self.step);
            let update = Update { epoch: 0, rows, position, telemetry: Telemetry::Terms };
            let stepped = self.stepper.update(self.task, &mut self.models, &mut self.groups, &update)?;
            self.step += 1;
            // As in a run, every step is checked if the device is the CPU; on a GPU, the check would force a
            // synchronisation.
            if self.plan.device == Device::Cpu
                && let Some(problem) = stepped.read().not_finite()
            {
                bail!("step {}: {problem}", self.step);
            }
        }
        synchronise(self.plan.device);
        Ok(())
    }
}
