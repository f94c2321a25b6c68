//! `nb train`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::Args;
use nb_dist::{ProcessGroup, World};
use nb_train::config::Override;
use nb_train::plan::read_shared_plan;
use nb_train::run::{Outcome, run, set_threads};
use nb_train::run_folder::{Accepted, Unfinished};

use super::launch::Others;
use crate::signals::Signals;

const EXAMPLES: &str = "\
Examples:
  nb train --config my.yaml --set train.lr=2e-4 --set seed=1
  nb train --config my.yaml --resume                       after Ctrl-C, a crash, a machine that went away
  nb train --config my.yaml --resume --set train.epochs=5 --accept train.epochs
  nb train --config my.yaml --set train.accumulate=2 --processes 2
  torchrun --no-python --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint host:29500 nb train --config my.yaml

On many machines it is started as PyTorch is, and follows the variables RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
MASTER_ADDR and MASTER_PORT, which torchrun and Kubernetes' operators set, and a Slurm script by RANK=$SLURM_PROCID and so on. An update's micro-batches (train.accumulate) are dealt out.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Train {
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
    /// Train on this many processes of this machine, which share its cores or have a GPU each
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    processes: u16,
}

impl Train {
    /// As a launcher has started this process, if one has.
    pub(crate) fn run(&self, world: Option<World>) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let world = world.filter(|world| world.size > 1);
        if let (Some(world), true) = (&world, self.processes > 1) {
            let (size, own) = (world.size, self.processes);
            bail!(
                "--processes is {own}, but a launcher has started this as one of {size} processes, expected one of both"
            );
        }
        // A configuration that cannot be used is to be said once, before there are others.
        let local = world.as_ref().map_or((0, usize::from(self.processes)), |w| (w.local_rank, w.local_size));
        let plan = read_shared_plan(&self.config, &self.sets, local)?;
        set_threads(plan.threads)?;
        let (world, mut others) = match world {
            None if self.processes > 1 => {
                let (world, others) = Others::start(usize::from(self.processes))?;
                (Some(world), Some(others))
            }
            world => (world, None),
        };
        let is_stopped = || signals.stop().load(Ordering::Relaxed);
        let goes_on = || match is_stopped() {
            true => Err("stopped by a signal".to_owned()),
            false => others.as_mut().map_or(Ok(()), Others::all_live),
        };
        let joined = world.map_or_else(|| Ok(ProcessGroup::alone()), |world| ProcessGroup::join_while(world, goes_on));
        if joined.is_err() && is_stopped() {
            tracing::warn!("stopped before all processes were there; nothing was written");
            return Ok(signals.exit_code());
        }
        let processes = Rc::new(joined?);
        let unfinished = match (self.overwrite, self.resume) {
            (true, _) => Unfinished::Overwrite,
            (_, true) => Unfinished::Resume(Accepted(self.accepted.clone())),
            _ => Unfinished::Refuse,
        };
        let outcome = run(&plan, &unfinished, signals.stop(), &processes).inspect_err(|error| {
            processes.abort(&format!("{error:#}")); // unless that is where it comes from
        });
        let outcome = outcome?;
        Rc::into_inner(processes).map(ProcessGroup::leave).transpose()?;
        others.map(Others::end).transpose()?;
        match outcome {
            Outcome::Finished(summary) => {
                say!("{}", summary.table);
                say!("run      {}", summary.folder.display());
                Ok(ExitCode::SUCCESS)
            }
            Outcome::FinishedBefore(folder) => {
                say!("run      {} (it was finished already)", folder.display());
                Ok(ExitCode::SUCCESS)
            }
            Outcome::FinishedByFirst(_) => Ok(ExitCode::SUCCESS),
            Outcome::Interrupted => Ok(signals.exit_code()),
        }
    }
}
