//! A run: from a plan to trained models and a summary.

mod evaluation_cache;
mod finish;
mod outcome;
mod outcomes;
mod progress;
mod resume;
mod setup;
mod state;
mod summary;
pub(crate) mod teacher;
mod train;
mod untouched;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nb_dist::ProcessGroup;
use tch::Tensor;

pub use self::outcome::Outcome;
pub use self::setup::{EpochPlace, Epochs, groups, is_evaluation, schedule, stepper};
pub use self::summary::RunResult;
pub use self::teacher::{finished, teacher_plan};
use crate::model::Models;
use crate::optim::ParamGroup;
use crate::plan::{Plan, check_trained};
use crate::run::resume::Start;
use crate::run::state::Run;
use crate::run::teacher::prepare_teacher;
use crate::run_folder::best::Best;
use crate::run_folder::checkpoint::{Checkpoints, Identity, State};
use crate::run_folder::clock::Stopwatch;
use crate::run_folder::provenance;
use crate::run_folder::{RunFolder, Unfinished};
use crate::step::sync::{self, Vote, broadcast_from_main, local_main_first};
use crate::task::{Task, TaskList, TaskVisitor};

/// Sets the number of threads of this project's kernels and of rayon. libtorch gets one thread, the caller's: its own team of
/// threads spins between operations, which slows down everything else on a shared machine. Call it once, before either computes.
///
/// # Errors
/// If threads were started before.
pub fn set_threads(threads: usize) -> Result<()> {
    nb_kernels::threads::set(threads);
    tch::set_num_threads(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot set the number of threads")
}

/// Runs a plan whose task is in the list `L` on `processes`, all of which call this function. A frozen teacher that is not
/// trained yet is trained first, in a separate run folder.
///
/// Every process needs the data and the checkpoints. The main process needs the run folder; the others need it only if a
/// frozen teacher is trained first.
///
/// # Errors
/// If data, checkpoints or the run folder cannot be used, if the run to resume had a different configuration, if a loss is
/// not finite, or if a process is lost.
pub fn run<L: TaskList>(
    plan: &Plan,
    unfinished: &Unfinished,
    stop: &Arc<AtomicBool>,
    processes: &Rc<ProcessGroup>,
) -> Result<Outcome> {
    sync::check_accumulation(plan, processes)?;
    sync::check_plans(processes, plan)?;
    broadcast_from_main(processes, || RunFolder::check(&plan.output, unfinished))?;
    let Some(plan) = prepare_teacher::<L>(plan, unfinished, stop, processes)? else {
        return Ok(Outcome::Interrupted);
    };
    let plan = plan.as_ref();
    if let Some(folder) = broadcast_from_main(processes, || already_finished(plan, unfinished))? {
        let is_main = processes.is_main();
        return Ok(if is_main { Outcome::AlreadyFinished(folder) } else { Outcome::FinishedByMain(folder) });
    }
    L::visit(plan, RunTask { unfinished, stop, processes })
}

/// Opens the task of a plan and runs it.
struct RunTask<'a> {
    unfinished: &'a Unfinished,
    stop: &'a Arc<AtomicBool>,
    processes: &'a Rc<ProcessGroup>,
}

impl TaskVisitor for RunTask<'_> {
    type Output = Outcome;

    fn visit<K: Task>(self, plan: &Plan, task_plan: &K::Plan) -> Result<Outcome> {
        let task = local_main_first(self.processes, || K::open(plan, task_plan))?;
        run_task(plan, &task, self.unfinished, self.stop, self.processes)
    }
}

/// Returns the folder of the run to resume if that run has already finished.
fn already_finished(plan: &Plan, unfinished: &Unfinished) -> Result<Option<PathBuf>> {
    if !matches!(unfinished, Unfinished::Resume(_)) || RunFolder::unfinished(&plan.output)?.is_some() {
        return Ok(None);
    }
    let folder = finished(plan)?;
    folder.iter().for_each(|folder| RunFolder::tidy(folder));
    Ok(folder)
}

fn run_task<K: Task>(
    plan: &Plan,
    task: &K,
    unfinished: &Unfinished,
    stop: &Arc<AtomicBool>,
    processes: &Rc<ProcessGroup>,
) -> Result<Outcome> {
    let work = processes.busy();
    let sources = provenance::sources(plan)?;
    let identity = Identity::new(&plan.resolved, &sources)?;
    sync::check_sources(processes, &identity)?;
    let start = processes.is_main().then(|| Start::find(plan, &identity, unfinished)).transpose()?;
    let watch = Stopwatch::start();
    let mut models = local_main_first(processes, || Models::build(plan, task))?;
    let mut groups = groups(plan, &models);
    check_trained(groups.iter().map(ParamGroup::parameters).sum(), plan.method.has_student())?;
    let vote = Vote { stop: stop.load(Ordering::Relaxed), save: false };
    if sync::decide(processes, vote)?.stop {
        tracing::warn!("stopped before the first step; nothing was written");
        return Ok(Outcome::Interrupted);
    }
    let epochs = Epochs::of(plan, task);
    let schedule = schedule(plan, &epochs);
    let first_state = || first_state(plan, task, &models);
    let (folder, state) = begin(plan, start, unfinished, schedule.total(), &mut groups, first_state)?;
    let mut state = broadcast_from_main(processes, || Ok(state))?;
    state.clock.add_cost(watch);
    sync::broadcast_state(processes, &groups)?;
    models.parameters_changed(plan.method.teacher); // updates the bf16 copies of the restored weights
    drop(work);
    let run = Run {
        plan,
        task,
        models,
        skipped: Tensor::from(state.skipped as i64).to_device(plan.device),
        checkpoints: Checkpoints::new(folder.path(), plan.checkpoints.every, plan.checkpoints.keep),
        folder,
        state,
        sources,
        groups,
        stepper: stepper(plan, processes),
        schedule,
        epochs,
        identity,
    };
    run.train(stop)
}

/// Opens the folder of a run, with the state to continue from. `total` is the number of its steps.
fn begin(
    plan: &Plan,
    start: Option<Start>,
    unfinished: &Unfinished,
    total: u64,
    groups: &mut [ParamGroup],
    first_state: impl FnOnce() -> State,
) -> Result<(RunFolder, State)> {
    Ok(match start {
        None => (RunFolder::of_another(plan.output.clone()), State::default()),
        Some(Start::Free) => (RunFolder::create(&plan.output, &plan.resolved, unfinished)?, first_state()),
        Some(Start::Over(halted)) => (halted.start_over(&plan.resolved)?, first_state()),
        Some(Start::After(resumed)) => resumed.restore(&plan.resolved, total, groups)?,
    })
}

/// Returns the state of a run before its first step.
fn first_state<K: Task>(plan: &Plan, task: &K, models: &Models<K::Head>) -> State {
    let trained = models.trained(plan.method.teacher);
    State { best: trained.map(|(role, _)| Best::new(role, task.primary_metric())).collect(), ..State::default() }
}
