//! The parts of a run that follow from its plan: updates, schedule, parameter groups.

use std::rc::Rc;

use nb_dist::ProcessGroup;
use nb_model::Arena;

use crate::config::EvalEvery;
use crate::method::TermKind;
use crate::model::{Models, Role, trained_head};
use crate::optim::{AdamW, ParamGroup};
use crate::plan::Plan;
use crate::step::{Schedule, StepPosition, Stepper};
use crate::task::{Task, TaskHead};

/// Returns the stepper for the run of a plan.
pub fn stepper(plan: &Plan, processes: &Rc<ProcessGroup>) -> Stepper {
    Stepper {
        method: plan.method.clone(),
        optimiser: AdamW::new(plan.train.weight_decay),
        clip: plan.train.clip,
        seed: plan.seed,
        processes: Rc::clone(processes),
    }
}

/// Returns the schedule of the whole run.
pub fn schedule(plan: &Plan, epochs: &Epochs) -> Schedule {
    let shares: Vec<f64> = plan.method.stages.iter().map(|stage| stage.share).collect();
    let total = epochs.updates.iter().sum::<u64>().min(plan.train.max_steps.unwrap_or(u64::MAX));
    Schedule::new(total, plan.train.warmup, &shares).with_decay(plan.train.decay)
}

/// The epochs of a run, up to the one in which `train.max_steps` is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    /// Updates of each epoch.
    pub updates: Vec<u64>,
}

/// The position of a step in its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochPlace {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The update within the epoch, from 0.
    pub update: u64,
    /// True for the epoch's last update.
    pub is_last: bool,
}

impl Epochs {
    /// Counts the updates of a task's epochs.
    pub fn of<K: Task>(plan: &Plan, task: &K) -> Self {
        let most = plan.train.max_steps.unwrap_or(u64::MAX);
        let (mut updates, mut steps) = (Vec::new(), 0);
        for epoch in 0..plan.train.epochs {
            if steps >= most {
                break; // a further epoch would be shuffled for nothing
            }
            updates.push(task.epoch(epoch).len().div_ceil(plan.train.accumulate) as u64);
            steps += updates[updates.len() - 1];
        }
        Self { updates }
    }

    /// Finds the position of `step`, counted from 0.
    ///
    /// # Panics
    /// If the run has no such step.
    pub fn locate(&self, step: u64) -> EpochPlace {
        let mut update = step;
        for (epoch, &updates) in (0..).zip(&self.updates) {
            if update < updates {
                return EpochPlace { epoch, update, is_last: update + 1 == updates };
            }
            update -= updates;
        }
        panic!("step {step} of a run of {} updates", self.updates.iter().sum::<u64>());
    }
}

impl EpochPlace {
    /// Returns the rows of the update's micro-batches; `epoch` holds the micro-batches of the whole epoch.
    pub(crate) fn micro_batches<'a>(&self, epoch: &'a [Vec<u32>], accumulate: usize) -> &'a [Vec<u32>] {
        let start = self.update as usize * accumulate;
        &epoch[start..(start + accumulate).min(epoch.len())]
    }
}

/// Returns whether an evaluation follows the step at `position`: if one is due, or if it is the last step. A stage without a
/// term on the outputs, which the metrics measure, has no evaluation before the last step.
pub fn is_evaluation(plan: &Plan, schedule: &Schedule, position: StepPosition, end_of_epoch: bool) -> bool {
    let step = position.step + 1;
    if step == schedule.total() {
        return true;
    }
    let due = match plan.train.eval_every {
        EvalEvery::Epoch => end_of_epoch,
        EvalEvery::Steps(n) => step.is_multiple_of(n),
    };
    due && plan.method.stages[position.stage].any(TermKind::needs_outputs)
}

/// Returns the optimiser's parameter groups: the trained parts of each distinct arena once, with its peak learning rate.
pub fn groups<T: TaskHead>(plan: &Plan, models: &Models<T>) -> Vec<ParamGroup> {
    let mut groups = Vec::new();
    let mut seen = Vec::new();
    let mut is_new = |arena: &Arena| {
        let identity = arena.values().data_ptr(); // a shared head is one arena
        let is_new = !seen.contains(&identity);
        seen.extend(is_new.then_some(identity));
        is_new
    };
    for (role, model) in models.trained(plan.method.teacher) {
        let encoder = match role {
            Role::Teacher => plan.train.teacher_lr,
            Role::Student => plan.train.lr,
        };
        groups.extend(ParamGroup::of_encoder(&model.bert, encoder));
        let head = trained_head(plan, &model.head).into_iter().filter(|arena| is_new(arena));
        groups.extend(head.flat_map(|arena| ParamGroup::all(arena, plan.train.head_lr)));
    }
    let extra = models.extra_arenas().into_iter();
    groups.extend(extra.flat_map(|arena| ParamGroup::all(arena, plan.train.head_lr)));
    groups
}
