//! `nb train`: a run from its configuration to its table.

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Result, bail};
use clap::Args;
use nb_dist::{ProcessGroup, World};
use nb_train::plan::{LocalProcess, read_plan};
use nb_train::run::{Outcome, run, set_threads};
use nb_train::run_folder::{Accepted, Unfinished};
use nb_train::task::{AllTasks, TaskList};

use super::config_file::ConfigFile;
use super::workers::Workers;
use crate::signals::Signals;

const EXAMPLES: &str = "\
Examples:
  nb train --config my.yaml --set train.lr=2e-4 --set seed=1
  nb train --config my.yaml --resume                       after Ctrl-C, a crash or a machine failure
  nb train --config my.yaml --resume --set train.epochs=5 --accept train.epochs
  nb train --config my.yaml --set train.accumulate=2 --processes 2
  torchrun --no-python --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint host:29500 nb train --config my.yaml

On several machines, start nb train as you would start a PyTorch program. It reads RANK, WORLD_SIZE, LOCAL_RANK,
LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT, which torchrun and Kubernetes operators set; a Slurm script sets them
with RANK=$SLURM_PROCID and so on. The micro-batches of an update (train.accumulate) are distributed over the processes.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Train {
    #[command(flatten)]
    config: ConfigFile,
    /// Remove an unfinished run from the run folder and start over
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Continue the unfinished run in the run folder from its newest complete checkpoint; if there is none, start the run
    #[arg(long)]
    resume: bool,
    /// Key that may differ from the checkpoint's configuration, e.g. train.lr or data.train (may be repeated)
    #[arg(long = "accept", value_name = "KEY", requires = "resume")]
    accepted: Vec<String>,
    /// Number of processes on this machine; they divide its cores, or use one GPU each
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    processes: u16,
}

impl Train {
    /// Trains. `world` describes this process if a launcher started it.
    pub(crate) fn run(&self, world: Option<World>) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let world = world.filter(|world| world.size > 1);
        let process = self.local_process(world.as_ref())?;
        // An invalid configuration is reported once, before other processes are started.
        let plan = read_plan(&self.config.path, &self.config.sets, AllTasks::KINDS, process)?;
        set_threads(plan.threads)?;
        let mut workers = match world {
            None if self.processes > 1 => Some(Workers::start(usize::from(self.processes))?),
            _ => None,
        };
        let world = world.or_else(|| workers.as_ref().map(Workers::main_process));
        let group = join(world, &signals, workers.as_mut());
        if group.is_err() && signals.is_stopped() {
            tracing::warn!("stopped before all processes had joined; nothing was written");
            return Ok(signals.exit_code());
        }
        let group = Rc::new(group?);
        let outcome = run::<AllTasks>(&plan, &self.unfinished(), signals.stop(), &group).inspect_err(|error| {
            group.abort(&format!("{error:#}")); // no effect if another process aborted first
        })?;
        Rc::into_inner(group).map(ProcessGroup::leave).transpose()?;
        workers.map(Workers::wait).transpose()?;
        report(outcome, &signals)
    }

    /// Returns the place of this process among those on this machine.
    fn local_process(&self, world: Option<&World>) -> Result<LocalProcess> {
        let count = usize::from(self.processes);
        match world {
            Some(world) if count > 1 => bail!(
                "--processes is {count}, but a launcher has already started {} processes; use only one of the two",
                world.size
            ),
            Some(world) => Ok(LocalProcess { rank: world.local_rank, count: world.local_size }),
            None => Ok(LocalProcess { rank: 0, count }),
        }
    }

    fn unfinished(&self) -> Unfinished {
        if self.overwrite {
            Unfinished::Overwrite
        } else if self.resume {
            Unfinished::Resume(Accepted(self.accepted.clone()))
        } else {
            Unfinished::Refuse
        }
    }
}

/// Joins the processes of the run, unless a signal is received or a worker ends first.
fn join(world: Option<World>, signals: &Signals, mut workers: Option<&mut Workers>) -> Result<ProcessGroup> {
    let Some(world) = world else { return Ok(ProcessGroup::alone()) };
    let keep_waiting = || {
        if signals.is_stopped() {
            return Err("stopped by a signal".to_owned());
        }
        workers.as_mut().map_or(Ok(()), |workers| workers.check())
    };
    Ok(ProcessGroup::join_while(world, keep_waiting)?)
}

/// Prints the outcome of a run, and returns its exit code.
fn report(outcome: Outcome, signals: &Signals) -> Result<ExitCode> {
    match outcome {
        Outcome::Finished(summary) => {
            say!("{}", summary.table);
            say!("run      {}", summary.folder.display());
        }
        Outcome::AlreadyFinished(folder) => say!("run      {} (already finished)", folder.display()),
        Outcome::FinishedByMain(_) => {}
        Outcome::Interrupted => return Ok(signals.exit_code()),
    }
    Ok(ExitCode::SUCCESS)
}
