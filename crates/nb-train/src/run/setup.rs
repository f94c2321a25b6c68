//! What follows from a plan before the first step: how many updates there are, in which stages, of which parameters.

use std::rc::Rc;

use nb_dist::ProcessGroup;
use nb_model::Arena;

use crate::config::EvalEvery;
use crate::method::TermKind;
use crate::model::{Models, Role};
use crate::optim::{AdamW, ParamGroup};
use crate::plan::Plan;
use crate::step::Stepper;
use crate::step::schedule::{Schedule, StepPosition};
use crate::task::{Layers, Task};

/// What every step of a plan's run has in common.
pub fn stepper(plan: &Plan, processes: &Rc<ProcessGroup>) -> Stepper {
    Stepper {
        method: plan.method.clone(),
        optimiser: AdamW::new(plan.train.weight_decay),
        clip: plan.train.clip,
        seed: plan.seed,
        processes: Rc::clone(processes),
    }
}

/// The stages of the whole run, whose epochs have these updates.
pub fn timeline(plan: &Plan, updates: &[u64]) -> Schedule {
    let shares: Vec<f64> = plan.method.stages.iter().map(|stage| stage.share).collect();
    let total = updates.iter().sum::<u64>().min(plan.train.max_steps.unwrap_or(u64::MAX));
    Schedule::new(total, plan.train.warmup, &shares)
}

/// Updates of each epoch, up to the one in which `train.max_steps` is reached.
pub fn updates<K: Task>(plan: &Plan, task: &K) -> Vec<u64> {
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
pub fn is_evaluation(plan: &Plan, timeline: &Schedule, moment: StepPosition, end_of_epoch: bool) -> bool {
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
pub fn groups<T: Layers>(plan: &Plan, models: &Models<T>) -> Vec<ParamGroup> {
    let mut groups = Vec::new();
    let mut seen = Vec::new();
    let mut add = |arena: &Arena, peak| {
        let identity = arena.values().data_ptr(); // shared top layers are one arena
        if !seen.contains(&identity) {
            seen.push(identity);
            groups.push(ParamGroup::new(arena, peak));
        }
    };
    for (role, model) in models.trained(plan.method.teacher) {
        let encoder = match role {
            Role::Teacher => plan.train.teacher_lr,
            Role::Student => plan.train.lr,
        };
        add(model.arena(), encoder);
        model.head.arenas().into_iter().for_each(|arena| add(arena, plan.train.head_lr));
    }
    models.extra_arenas().into_iter().for_each(|arena| add(arena, plan.train.head_lr));
    groups
}
