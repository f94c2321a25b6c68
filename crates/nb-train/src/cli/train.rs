//! `nb train`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::signals::Signals;
use crate::config::Override;
use crate::folder::Unfinished;
use crate::plan::read_plan;
use crate::run::{Outcome, run, set_threads};

#[derive(Debug, Args)]
#[command(after_help = "Example: nb train --config my.yaml --set train.lr=2e-4 --set seed=1")]
pub(super) struct Train {
    /// The run's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override one key, e.g. train.lr=2e-4; repeats, the last wins; paths count from here
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<Override>,
    /// Remove an unfinished run that lies in the run folder and begin anew
    #[arg(long)]
    overwrite: bool,
}

impl Train {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let plan = read_plan(&self.config, &self.sets)?;
        set_threads(plan.threads)?;
        let unfinished = if self.overwrite { Unfinished::Overwrite } else { Unfinished::Refuse };
        match run(&plan, unfinished, signals.stop())? {
            Outcome::Finished(summary) => {
                say!("{}", summary.table);
                say!("run      {}", summary.folder.display());
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Interrupted => Ok(signals.exit_code()),
        }
    }
}
