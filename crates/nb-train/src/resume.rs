//! A run that goes on: found, compared with what it was begun as, and put back where its checkpoint stands.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::adamw::Group;
use crate::best::Best;
use crate::checkpoint::{Checkpoint, Difference, Identity, State};
use crate::folder::{Accepted, Halted, RunFolder, Unfinished};
use crate::plan::Plan;

/// A run that was stopped, and the checkpoint that it goes on from.
#[derive(Debug)]
pub(crate) struct Resumed {
    halted: Halted,
    checkpoint: Checkpoint,
    /// Whether it goes on just as it was begun, so that it repeats what it did after the checkpoint.
    repeats: bool,
}

impl Resumed {
    /// The unfinished run in the folder of `plan`, if it is to go on and has a checkpoint.
    ///
    /// # Errors
    /// If it was begun as another one than `now` in more than was accepted; if it has checkpoints, but none that is whole;
    /// if another process is at work in the folder.
    pub(crate) fn find(plan: &Plan, now: &Identity, unfinished: &Unfinished) -> Result<Option<Self>> {
        if matches!(unfinished, Unfinished::Refuse | Unfinished::Overwrite) {
            return Ok(None);
        }
        let Some(halted) = Halted::take(&plan.output, unfinished)? else {
            tracing::info!("there is no unfinished run in {}: this one begins", plan.output.display());
            return Ok(None);
        };
        let newest = match (Checkpoint::newest(halted.path()), unfinished) {
            (Err(_), Unfinished::ResumeSame) => None,
            (newest, _) => newest?,
        };
        let Some(checkpoint) = newest else {
            tracing::warn!("{} has no checkpoint to go on from: the run begins anew", halted.path().display());
            return Ok(None);
        };
        let differences = checkpoint.saved.identity.differences(now);
        match unfinished {
            Unfinished::Resume(accepted) => refuse(&halted, &differences, accepted)?,
            _ if differences.is_empty() => {}
            _ => {
                tracing::info!("{} was begun as another run: it begins anew", halted.path().display());
                return Ok(None);
            }
        }
        for difference in &differences {
            tracing::warn!("{difference}: accepted");
        }
        Ok(Some(Self { halted, checkpoint, repeats: differences.is_empty() }))
    }

    /// Puts parameters and moments back, and opens the folder where the checkpoint stands.
    ///
    /// # Errors
    /// If the checkpoint is of other models, or if a file cannot be written.
    pub(crate) fn restore(self, config: &impl Serialize, groups: &mut [Group]) -> Result<(RunFolder, State)> {
        let Self { halted, checkpoint, repeats } = self;
        checkpoint.restore(groups)?;
        let mut state = checkpoint.saved.state.clone();
        tracing::info!("going on after step {}, from {}", state.step, checkpoint.folder().display());
        if !repeats {
            // A model that was saved after the checkpoint will not come again.
            let gone = state.best.iter_mut().filter(|best| !best.is_in(halted.path()));
            gone.for_each(|best| {
                tracing::warn!("the best {} is of after the checkpoint: it is looked for anew", best.role().name());
                Best::forget(best);
            });
        }
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
