//! The end of a run.

use std::path::PathBuf;

use crate::run::summary::RunResult;

/// The end of a run.
#[derive(Debug)]
pub enum Outcome {
    /// All steps were made, or training stopped early.
    Finished(Box<RunResult>),
    /// The run to resume had already finished, in this folder.
    AlreadyFinished(PathBuf),
    /// The main process, the only one that writes, has finished the run in this folder.
    FinishedByMain(PathBuf),
    /// A signal stopped the run after a step; the best models so far are saved.
    Interrupted,
}
