//! Resuming a run: finding its checkpoint, comparing identities, and restoring its state.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::optim::ParamGroup;
use crate::plan::Plan;
use crate::run_folder::best::Best;
use crate::run_folder::checkpoint::{Checkpoint, Difference, Identity, State};
use crate::run_folder::{Accepted, Halted, RunFolder, Unfinished};

/// The point from which a run starts.
#[derive(Debug)]
pub(crate) enum Start {
    /// Its first step, in a folder that is yet to be taken.
    Free,
    /// Its first step, in the folder of an unfinished run, which is removed.
    Over(Halted),
    /// The step after a checkpoint.
    After(Box<Resumed>),
}

/// A stopped run, and the checkpoint to resume from.
#[derive(Debug)]
pub(crate) struct Resumed {
    halted: Halted,
    checkpoint: Checkpoint,
}

impl Start {
    /// Finds the point from which the run of `plan` starts. Looks for an unfinished run at its output if `unfinished` allows
    /// resuming.
    ///
    /// # Errors
    /// If the unfinished run differs from `now` in a key that is not accepted; if it has checkpoints, but no complete one; or
    /// if another process uses the folder.
    pub(crate) fn find(plan: &Plan, now: &Identity, unfinished: &Unfinished) -> Result<Self> {
        if !unfinished.resumes() {
            return Ok(Self::Free);
        }
        let Some(halted) = Halted::take(&plan.output, unfinished)? else {
            tracing::info!("no unfinished run in {}; starting from step 1", plan.output.display());
            return Ok(Self::Free);
        };
        let folder = halted.path().display();
        let checkpoint = match (Checkpoint::newest(halted.path()), unfinished) {
            (Err(e), Unfinished::ResumeSame) => {
                tracing::warn!("{e:#}; starting over");
                return Ok(Self::Over(halted));
            }
            (newest, _) => newest?,
        };
        let differences = match &checkpoint {
            Some(checkpoint) => checkpoint.saved.identity.differences(now),
            // Data, models and versions are not recorded before the first checkpoint.
            None => Identity::of_folder(halted.path())
                .map(|was| was.without_sources().differences(&now.without_sources()))
                .unwrap_or_default(),
        };
        match unfinished {
            Unfinished::Resume(accepted) => refuse(&halted, &differences, accepted)?,
            _ if differences.is_empty() => {}
            _ => {
                tracing::info!("{folder} was started with a different configuration; starting over");
                return Ok(Self::Over(halted));
            }
        }
        for difference in &differences {
            tracing::warn!("{difference}: accepted");
        }
        let Some(checkpoint) = checkpoint else {
            tracing::warn!("{folder} has no checkpoint yet; starting over");
            return Ok(Self::Over(halted));
        };
        Ok(Self::After(Box::new(Resumed { halted, checkpoint })))
    }
}

impl Resumed {
    /// Restores parameters and moments, and opens the folder at the checkpoint's step; the run has `total` steps.
    ///
    /// # Errors
    /// If the checkpoint has a different architecture or is at the run's end, or if a file cannot be written.
    pub(crate) fn restore(
        self,
        config: &impl Serialize,
        total: u64,
        groups: &mut [ParamGroup],
    ) -> Result<(RunFolder, State)> {
        let Self { halted, checkpoint } = self;
        let mut state = checkpoint.saved.state.clone();
        if state.step >= total {
            bail!(
                "{} was saved after step {}, but this configuration ends with step {total}; increase the number of steps",
                checkpoint.folder().display(),
                state.step
            );
        }
        checkpoint.restore(groups)?;
        tracing::info!("resuming after step {}, from {}", state.step, checkpoint.folder().display());
        // Metrics must belong to the weights beside them. If a best model was saved after the checkpoint, the checkpoint
        // describes another one, so its metrics are dropped and the best model is selected again.
        state.best.iter_mut().filter(|best| !best.is_in(halted.path())).for_each(Best::reset);
        let folder = halted.open(config, state.step, checkpoint.saved.metrics)?;
        Ok((folder, state))
    }
}

fn refuse(halted: &Halted, differences: &[Difference], accepted: &Accepted) -> Result<()> {
    let refused: Vec<_> = differences.iter().filter(|d| !accepted.holds(d.accepted_by())).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for difference in &refused {
        lines += &format!("\n  {difference}");
    }
    let mut keys: Vec<String> = refused.iter().map(|d| format!("--accept {}", d.accepted_by())).collect();
    keys.dedup();
    bail!(
        "{} was started with a different configuration:{lines}\nuse {} to resume it anyway, --overwrite to start over",
        halted.path().display(),
        keys.join(" "),
    )
}
