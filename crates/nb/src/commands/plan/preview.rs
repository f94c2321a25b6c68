//! Steps and memory of the run that trains a frozen teacher first.

use anyhow::Result;
use nb_train::plan::{Estimate, Plan, Workload};
use nb_train::run::{Epochs, schedule};
use nb_train::task::{AllTasks, Task, TaskList, TaskVisitor};

use super::data::{self, FirstEpoch};
use super::page::Page;
use super::parameters;

/// Steps and memory of a run other than the one shown.
pub(super) struct Preview {
    pub(super) steps: u64,
    /// Bytes at peak.
    pub(super) memory: u64,
}

impl Preview {
    /// Opens the texts of a plan and estimates its run.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        AllTasks::visit(plan, PreviewRun)
    }
}

struct PreviewRun;

impl TaskVisitor for PreviewRun {
    type Output = Preview;

    fn visit<K: Task>(self, plan: &Plan, task_plan: &K::Plan) -> Result<Preview> {
        let (task, mut unused) = (K::open(plan, task_plan)?, Page::default());
        let FirstEpoch { largest, words, .. } = data::texts(&mut unused, plan, &task);
        let work = Workload {
            head: parameters::parameters(&mut unused, plan, &task)?,
            largest,
            words: &words,
            cached_states: None,
            has_test: task.has_test(),
        };
        let steps = schedule(plan, &Epochs::of(plan, &task)).total();
        Ok(Preview { steps, memory: Estimate::new(plan, &work).total() })
    }
}
