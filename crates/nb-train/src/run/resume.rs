//! A run that goes on: found, compared with what it was begun as, and put back where its checkpoint stands.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::optim::ParamGroup;
use crate::plan::Plan;
use crate::run_folder::best::Best;
use crate::run_folder::checkpoint::{Checkpoint, Difference, Identity, State};
use crate::run_folder::{Accepted, Halted, RunFolder, Unfinished};

/// Where a run begins.
#[derive(Debug)]
pub(crate) enum Start {
    /// With its first step, in a folder that is still to be taken.
    Free,
    /// With its first step, in the folder of an unfinished run, which is removed.
    Over(Halted),
    /// After a checkpoint.
    After(Box<Resumed>),
}

/// A run that was stopped, and the checkpoint that it goes on from.
#[derive(Debug)]
pub(crate) struct Resumed {
    halted: Halted,
    checkpoint: Checkpoint,
}

impl Start {
    /// Looks for an unfinished run in the folder of `plan`, if it is to go on.
    ///
    /// # Errors
    /// If it was begun as another one than `now` in more than was accepted; if it has checkpoints, but none that is whole;
    /// if another process is at work in the folder.
    pub(crate) fn find(plan: &Plan, now: &Identity, unfinished: &Unfinished) -> Result<Self> {
        if !unfinished.goes_on() {
            return Ok(Self::Free);
        }
        let Some(halted) = Halted::take(&plan.output, unfinished)? else {
            tracing::info!("there is no unfinished run in {}: this one begins", plan.output.display());
            return Ok(Self::Free);
        };
        let folder = halted.path().display();
        let checkpoint = match (Checkpoint::newest(halted.path()), unfinished) {
            (Err(e), Unfinished::ResumeSame) => {
                tracing::warn!("{e:#}; the run begins anew");
                return Ok(Self::Over(halted));
            }
            (newest, _) => newest?,
        };
        let differences = match &checkpoint {
            Some(checkpoint) => checkpoint.saved.identity.differences(now),
            // What it was begun with beside its configuration is part of its first checkpoint.
            None => Identity::of_folder(halted.path())
                .map(|was| was.without_sources().differences(&now.without_sources()))
                .unwrap_or_default(),
        };
        match unfinished {
            Unfinished::Resume(accepted) => refuse(&halted, &differences, accepted)?,
            _ if differences.is_empty() => {}
            _ => {
                tracing::info!("{folder} was begun as another run: it begins anew");
                return Ok(Self::Over(halted));
            }
        }
        for difference in &differences {
            tracing::warn!("{difference}: accepted");
        }
        let Some(checkpoint) = checkpoint else {
            tracing::warn!("{folder} has no checkpoint yet: the run begins anew");
            return Ok(Self::Over(halted));
        };
        Ok(Self::After(Box::new(Resumed { halted, checkpoint })))
    }
}

impl Resumed {
    /// Puts parameters and moments back, and opens the folder where the checkpoint stands, of a run of `total` steps.
    ///
    /// # Errors
    /// If the checkpoint is of other models or stands at the run's end, or if a file cannot be written.
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
                "{} stands after step {}, but this configuration ends with step {total}; expected more steps",
                checkpoint.folder().display(),
                state.step
            );
        }
        checkpoint.restore(groups)?;
        tracing::info!("going on after step {}, from {}", state.step, checkpoint.folder().display());
        // A model that was saved after the checkpoint takes its place again where the run repeats what it did. Where it does
        // not, say on another machine, the numbers of the one before must not stand beside it.
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
        "{} was begun as another run:{lines}\n{} goes on all the same, --overwrite begins anew",
        halted.path().display(),
        keys.join(" "),
    )
}
