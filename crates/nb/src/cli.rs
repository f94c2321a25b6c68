//! The commands of `nb`, and how they end: 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped by a signal.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use nb_checkpoint::CheckpointLocation;
use nb_dist::World;
use nb_model::Precision;
use nb_torch::cuda::Preload;
use nb_train::config::{DeviceChoice, PrecisionChoice};
use tch::Device;

use crate::commands::{compare, embed, eval, plan, predict, rank, search, train};
use crate::logging;

#[derive(Debug, Parser)]
#[command(name = "nb", version, about = "Makes a large BERT small for news", max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    logging: logging::Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a student together with its teacher, as a configuration says
    Train(train::Train),
    /// Compare methods, student depths and seeds on one data set, with a table, intervals and paired tests
    Compare(compare::Compare),
    /// Check a configuration and show what it would do
    Plan(plan::ShowPlan),
    /// Measure a trained model on labelled data, impressions or queries
    Eval(eval::Eval),
    /// Topics of new texts, as JSON lines in input order
    Predict(predict::Predict),
    /// Vectors of new texts, as safetensors in input order
    Embed(embed::Embed),
    /// Rank the news of impressions for their readers, as MIND's prediction.txt
    Rank(rank::Rank),
    /// Find the best news of a corpus for a query
    Search(search::Search),
    /// Download a checkpoint from the Hugging Face hub into its cache
    #[command(after_help = "Example: nb fetch hf:sentence-transformers/all-MiniLM-L6-v2\n\
        Environment, as huggingface_hub 2.4 reads it: HF_TOKEN or the file HF_TOKEN_PATH (the token), HF_HUB_CACHE, HF_HOME or\n\
        XDG_CACHE_HOME (the cache), HF_ENDPOINT (the hub), HF_HUB_OFFLINE=1 (no request), HF_HUB_DISABLE_IMPLICIT_TOKEN=1\n\
        (no token). The token is sent to the hub alone, not to hosts that it redirects to.")]
    Fetch {
        /// hf:owner/name
        checkpoint: String,
    },
}

/// Where and in which number format a command computes.
#[derive(Debug, Args)]
pub(crate) struct Compute {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_parser = |s: &str| s.parse::<DeviceChoice>().map_err(|()| "expected auto, cpu, cuda or cuda:N"))]
    device: DeviceChoice,
    /// Number format of the products: f32 or bf16
    #[arg(long, default_value = "f32", value_parser = precision)]
    precision: PrecisionChoice,
    /// CPU threads [default: all cores]
    #[arg(long)]
    threads: Option<std::num::NonZeroU16>,
}

impl Compute {
    pub(crate) fn apply(&self) -> Result<(Device, Precision)> {
        if let Some(threads) = self.threads {
            nb_train::run::set_threads(usize::from(threads.get()))?;
        }
        Ok((nb_train::plan::device(self.device)?, nb_train::plan::precision(self.precision)))
    }
}

fn precision(text: &str) -> Result<PrecisionChoice, &'static str> {
    match text {
        "f32" => Ok(PrecisionChoice::F32),
        "bf16" => Ok(PrecisionChoice::Bf16),
        _ => Err("expected f32 or bf16"),
    }
}

/// Reads the command line, runs the command, and says how it ended.
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
        Command::Fetch { checkpoint } => fetch(checkpoint),
    };
    match result {
        Ok(code) => code,
        // A reader that has seen enough is no failure.
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

fn fetch(checkpoint: &str) -> Result<ExitCode> {
    let folder = checkpoint.parse::<CheckpointLocation>()?.download()?;
    say!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
