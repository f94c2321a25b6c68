//! `nb compare`: methods × student depths × seeds on one data set.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nb_train::compare::{CompareOutcome, ComparePlan, RunState, RunStatus, compare};
use nb_train::run::set_threads;

use super::config_file::ConfigFile;
use crate::signals::Signals;

#[derive(Debug, Args)]
#[command(after_help = "Example: nb compare --config configs/compare-quickstart.yaml\n         \
    nb compare --config configs/compare-quickstart.yaml --set seeds=[0] --set run.train.epochs=1\n\n\
    You can stop a comparison at any time and continue it with the same command: finished runs are not repeated.")]
pub(crate) struct Compare {
    #[command(flatten)]
    config: ConfigFile,
    /// Check and list all runs, without running any
    #[arg(long)]
    dry_run: bool,
}

impl Compare {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let plan = ComparePlan::read(&self.config.path, &self.config.sets)?;
        if self.dry_run {
            for RunStatus { name, state } in plan.statuses()? {
                let state = match state {
                    RunState::Done => "done",
                    RunState::Pending => "to run",
                    RunState::AfterTrials => "after tries",
                };
                say!("{state:<11}  {name}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        set_threads(plan.threads)?;
        match compare(&plan, signals.stop())? {
            CompareOutcome::Finished { comparison, folder } => {
                say!("{}", comparison.text().trim_end());
                say!("table    {}", folder.join("compare.csv").display());
                say!("report   {}", folder.join("report.html").display());
                Ok(ExitCode::SUCCESS)
            }
            CompareOutcome::Interrupted => Ok(signals.exit_code()),
        }
    }
}
