//! The command line of `nb`, and its exit codes: 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped by a signal.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
#[cfg(feature = "train")]
use nb_dist::World;
#[cfg(feature = "train")]
use nb_torch::cuda::Preload;

#[cfg(feature = "train")]
use crate::commands::{compare, plan, schema, train};
use crate::commands::{completions, embed, eval, export, fetch, predict, rank, search};
use crate::logging::Logging;

#[derive(Debug, Parser)]
#[command(name = "nb", version, about = "Train small news BERTs from large ones, and use them", max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    logging: Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "train")]
    /// Train a student with its teacher
    Train(train::Train),
    #[cfg(feature = "train")]
    /// Compare methods, student depths and seeds on one data set, with a table, intervals and paired tests
    Compare(compare::Compare),
    #[cfg(feature = "train")]
    /// Check a configuration and show what training with it would do
    Plan(plan::ShowPlan),
    /// Measure a trained model on labelled texts, impressions or queries
    Eval(eval::Eval),
    /// Classify new texts, and print JSON lines in input order
    Predict(predict::Predict),
    /// Embed new texts, and write their vectors as safetensors in input order
    Embed(embed::Embed),
    /// Rank the articles of impressions for their readers, and write MIND's prediction.txt
    Rank(rank::Rank),
    /// Find the articles of a corpus that match a query best
    Search(search::Search),
    /// Write a trained model in the form of another program
    Export(export::Export),
    /// Download a checkpoint from the Hugging Face hub into its cache
    Fetch(fetch::Fetch),
    #[cfg(feature = "train")]
    /// Print the JSON schema of a configuration, which lets editors complete and check it
    Schema(schema::ShowSchema),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Sets the environment, reads the command line, runs the command, and returns its exit code. It is the first call of a program,
/// before any thread exists.
#[cfg(feature = "train")]
pub fn main() -> ExitCode {
    // Before libtorch reads the environment.
    nb_torch::env_defaults::limit_primitive_cache();
    nb_torch::env_defaults::silence_cpp_log();
    nb_alloc::purge_in_background(); // starts a thread
    // Before any use of libtorch, which lists the devices only once.
    let preloaded = nb_torch::cuda::preload();
    let cli = Cli::parse();
    let world = match cli.command {
        Command::Train(_) => World::from_env(),
        _ => Ok(None),
    };
    let rank = world.as_ref().map_or(0, |world| world.as_ref().map_or(0, |world| world.rank));
    cli.run(rank, |command| {
        if let Preload::Failed(path, error) = &preloaded {
            tracing::warn!("no GPU: {} cannot be loaded: {error}", path.display());
        }
        match command {
            Command::Train(command) => world.map_err(anyhow::Error::from).and_then(|world| command.run(world)),
            command => command.run(),
        }
    })
}

/// Reads the command line, runs the command, and returns its exit code.
#[cfg(not(feature = "train"))]
pub fn main() -> ExitCode {
    nb_alloc::purge_in_background(); // starts a thread
    Cli::parse().run(0, Command::run)
}

impl Cli {
    /// Starts the log and runs the command in process `rank` of a run; prints its error.
    fn run(&self, rank: usize, run: impl FnOnce(&Command) -> Result<ExitCode>) -> ExitCode {
        if let Err(error) = self.logging.start(rank) {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
        match run(&self.command) {
            Ok(code) => code,
            // A closed pipe is no failure: its reader needs no more output.
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                match rank {
                    0 => eprintln!("error: {error:#}"),
                    rank => eprintln!("error in process {rank}: {error:#}"),
                }
                ExitCode::FAILURE
            }
        }
    }
}

impl Command {
    /// Runs a command in the only process.
    fn run(&self) -> Result<ExitCode> {
        match self {
            #[cfg(feature = "train")]
            Self::Train(command) => command.run(None),
            #[cfg(feature = "train")]
            Self::Compare(command) => command.run(),
            #[cfg(feature = "train")]
            Self::Plan(command) => command.run(),
            Self::Eval(command) => command.run(),
            Self::Predict(command) => command.run(),
            Self::Embed(command) => command.run(),
            Self::Rank(command) => command.run(),
            Self::Search(command) => command.run(),
            Self::Export(command) => command.run(),
            Self::Fetch(command) => command.run(),
            #[cfg(feature = "train")]
            Self::Schema(command) => command.run(),
            Self::Completions(command) => command.run(Cli::command()),
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
