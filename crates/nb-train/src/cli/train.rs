//! `nb train`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::signals::Signals;
use crate::config::Override;
use crate::folder::{Accepted, Unfinished};
use crate::plan::read_plan;
use crate::run::{Outcome, run, set_threads};

const EXAMPLES: &str = "\
Examples:
  nb train --config my.yaml --set train.lr=2e-4 --set seed=1
  nb train --config my.yaml --resume                       after Ctrl-C, a crash, a machine that went away
  nb train --config my.yaml --resume --set train.epochs=5 --accept train.epochs";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Train {
    /// The run's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override one key, e.g. train.lr=2e-4; repeats, the last wins; paths count from here
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<Override>,
    /// Remove an unfinished run that lies in the run folder and begin anew
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Go on with the unfinished run in the run folder where its newest whole checkpoint stands; begin it where there is none
    #[arg(long)]
    resume: bool,
    /// A key in which the run may differ from what it was begun with, e.g. train.lr or data.train; repeats
    #[arg(long = "accept", value_name = "KEY", requires = "resume")]
    accepted: Vec<String>,
}

impl Train {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let plan = read_plan(&self.config, &self.sets)?;
        set_threads(plan.threads)?;
        let unfinished = match (self.overwrite, self.resume) {
            (true, _) => Unfinished::Overwrite,
            (_, true) => Unfinished::Resume(Accepted(self.accepted.clone())),
            _ => Unfinished::Refuse,
        };
        match run(&plan, &unfinished, signals.stop())? {
            Outcome::Finished(summary) => {
                say!("{}", summary.table);
                say!("run      {}", summary.folder.display());
                Ok(ExitCode::SUCCESS)
            }
            Outcome::FinishedBefore(folder) => {
                say!("run      {} (it was finished already)", folder.display());
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Interrupted => Ok(signals.exit_code()),
        }
    }
}
