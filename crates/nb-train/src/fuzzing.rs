//! Entry points of the fuzz targets to functions that are not public (feature `fuzzing`): reading a checkpoint as a resumed
//! run does, and locating the keys of an error in a configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nb_model::{Arena, Layout};
use tch::Device;

use crate::config::{CheckpointEvery, ConfigError, Override, locate, locate_below};
use crate::optim::ParamGroup;
use crate::run_folder::CHECKPOINTS;
use crate::run_folder::checkpoint::{Checkpoint, Checkpoints, Identity, Saved, State};

const STEP: u64 = 3;

/// Writes a checkpoint into the folder of a run and returns the checkpoint's folder.
///
/// # Errors
/// If it cannot be written.
pub fn write_checkpoint(run: &Path) -> Result<PathBuf> {
    let state = State { step: STEP, ..State::default() };
    let saved = Saved { state, metrics: 0, identity: Identity::default() };
    Checkpoints::new(run, CheckpointEvery::Never, 1).save(&saved, &groups())?;
    Ok(checkpoint_folder(run))
}

/// Returns the folder that [`write_checkpoint`] writes.
pub fn checkpoint_folder(run: &Path) -> PathBuf {
    run.join(CHECKPOINTS).join(format!("step-{STEP:09}"))
}

/// Reads the newest checkpoint of a run, compares its identity and restores its parameters.
///
/// # Errors
/// If there is none, or if it is damaged or belongs to another run.
pub fn read_checkpoint(run: &Path) -> Result<()> {
    let checkpoint = Checkpoint::newest(run)?.context("no checkpoint")?;
    for difference in checkpoint.saved.identity.differences(&Identity::default()) {
        let _ = (difference.to_string(), difference.accepted_by().len());
    }
    checkpoint.restore(&mut groups())
}

/// Returns the messages of an error in the configuration of a run, and in that of a comparison, whose keys are below
/// `prefixes`.
pub fn located_messages(error: &ConfigError, path: &Path, overrides: &[Override], prefixes: &[&str]) -> [String; 2] {
    let in_run = locate(error.clone().into(), path, overrides);
    let in_comparison = locate_below(error.clone().into(), path, overrides, prefixes);
    [in_run, in_comparison].map(|error| format!("{error:#}"))
}

fn groups() -> Vec<ParamGroup> {
    let mut layout = Layout::default();
    layout.push("weight", &[2, 2]);
    vec![ParamGroup::new(&Arena::zeros(layout, Device::Cpu), 1e-3)]
}
