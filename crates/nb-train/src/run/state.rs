//! A run in progress.

use nb_report::record::Sources;
use tch::Tensor;

use crate::model::Models;
use crate::optim::ParamGroup;
use crate::plan::Plan;
use crate::run::setup::Epochs;
use crate::run_folder::RunFolder;
use crate::run_folder::checkpoint::{Checkpoints, Identity, State};
use crate::step::{Schedule, Stepper};
use crate::task::Task;

/// A run in progress.
pub(crate) struct Run<'a, K: Task> {
    pub(crate) plan: &'a Plan,
    pub(crate) task: &'a K,
    pub(crate) models: Models<K::Head>,
    pub(crate) folder: RunFolder,
    pub(crate) state: State,
    /// Everything besides the configuration that the result depends on.
    pub(crate) sources: Sources,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) groups: Vec<ParamGroup>,
    pub(crate) stepper: Stepper,
    pub(crate) schedule: Schedule,
    pub(crate) epochs: Epochs,
    /// Updates that were skipped, counted on the device.
    pub(crate) skipped: Tensor,
    pub(crate) identity: Identity,
}
