//! The command line of `nb`, and its exit codes: 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped by a signal.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use nb_dist::World;
use nb_torch::cuda::Preload;

use crate::commands::{compare, completions, embed, eval, fetch, plan, predict, rank, schema, search, train};
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
    /// Train a student with its teacher
    Train(train::Train),
    /// Compare methods, student depths and seeds on one data set, with a table, intervals and paired tests
    Compare(compare::Compare),
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
    /// Download a checkpoint from the Hugging Face hub into its cache
    Fetch(fetch::Fetch),
    /// Print the JSON schema of a configuration, which lets editors complete and check it
    Schema(schema::ShowSchema),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Reads the command line, runs the command, and returns its exit code.
pub fn main(preloaded: &Preload) -> ExitCode {
    let cli = Cli::parse();
    let world = match cli.command {
        Command::Train(_) => World::from_env(),
        _ => Ok(None),
    };
    let rank = world.as_ref().map_or(0, |world| world.as_ref().map_or(0, |world| world.rank));
    if let Err(error) = cli.logging.start(rank) {
        eprintln!("error: {error:#}");
        return ExitCode::from(2);
    }
    if let Preload::Failed(path, error) = preloaded {
        tracing::warn!("no GPU: {} cannot be loaded: {error}", path.display());
    }
    let result = match &cli.command {
        Command::Train(command) => world.map_err(anyhow::Error::from).and_then(|world| command.run(world)),
        Command::Compare(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Predict(command) => command.run(),
        Command::Embed(command) => command.run(),
        Command::Rank(command) => command.run(),
        Command::Search(command) => command.run(),
        Command::Fetch(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(Cli::command()),
    };
    match result {
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
