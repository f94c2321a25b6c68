//! `nb compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nb_train::compare::{Compared, Comparing, compare};
use nb_train::config::Override;
use nb_train::run::set_threads;

use crate::signals::Signals;

#[derive(Debug, Args)]
#[command(after_help = "Example: nb compare --config configs/compare-quickstart.yaml\n         \
    nb compare --config configs/compare-quickstart.yaml --set seeds=[0] --set run.train.epochs=1\n\n\
    Runs that are done are not run again: stop it whenever you like, and start it again with the same command.")]
pub(crate) struct Compare {
    /// The comparison's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override one key of it, e.g. run.train.lr=2e-4; repeats, the last wins; paths count from here
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<Override>,
    /// Check every run and list them, and run none
    #[arg(long)]
    dry_run: bool,
}

impl Compare {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let comparing = Comparing::new(&self.config, &self.sets)?;
        if self.dry_run {
            for (name, state) in comparing.specs()? {
                say!("{state:<11}  {name}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        set_threads(comparing.threads)?;
        match compare(&comparing, signals.stop())? {
            Compared::Finished(comparison, folder) => {
                say!("{}", comparison.text().trim_end());
                say!("table    {}", folder.join("compare.csv").display());
                say!("report   {}", folder.join("report.html").display());
                Ok(ExitCode::SUCCESS)
            }
            Compared::Interrupted => Ok(signals.exit_code()),
        }
    }
}
