//! The commands of `nb-bench` and their exit codes: 0 success, 1 failed or slower than the baseline, 2 wrong usage.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use nb_checkpoint::{CheckpointLocation, QUIET_CLIENT};
use nb_torch::cuda::Preload;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::context::BenchContext;
use crate::host::{self, Conditions, Host};
use crate::options::Options;
use crate::report::{OutcomeSink, Report};
use crate::{baseline, data, infer, show, train};

const TRAIN: &str = "\
Examples:
  nb-bench train --case ag-64 --precision f32
  nb-bench train --case ag-titles --batch 128 --threads 1
  nb-bench train --random 12x768 --layers 4 --batch 256 --precision bf16 --device cuda
  nb-bench train --against torch --python venv/bin/python --json train.json";

const INFER: &str = "\
Examples:
  nb-bench infer --case one-title
  nb-bench infer --layers 4 --against torch,onnx --python venv/bin/python
  nb-bench infer --model runs/x/student --precision int8 --against onnx,openvino --python venv/bin/python";

const DATA: &str = "\
Examples:
  nb-bench data
  nb-bench data --case tokenise --json now.json --baseline before.json";

#[derive(Debug, Parser)]
#[command(name = "nb-bench", version, about = "Measure the speed of NewsBERT on this machine", max_term_width = 110)]
struct Cli {
    /// Log level on standard error: error, warn, info or debug
    #[arg(long, global = true, env = "NB_LOG", default_value = "nb_bench=info,warn", value_name = "LEVEL")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure training steps: sequences, tokens and operations per second, phases, memory
    #[command(after_help = TRAIN)]
    Train {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        steps: train::StepOptions,
    },
    /// Measure teacher and student inference: single titles, and texts in bulk
    #[command(after_help = INFER)]
    Infer {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        infer: infer::InferOptions,
    },
    /// Measure reading and tokenising
    #[command(after_help = DATA)]
    Data {
        #[command(flatten)]
        options: Options,
    },
    /// Download a checkpoint from the Hugging Face hub into the local cache
    #[command(hide = true)]
    Fetch {
        /// Checkpoint: hf:owner/name
        checkpoint: String,
    },
}

/// Returns the log filter for a level or a filter directive.
fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(level)?;
    QUIET_CLIENT.iter().try_fold(filter, |filter, directive| Ok(filter.add_directive(directive.parse()?)))
}

/// Parses the command line, runs the command and returns its exit code.
pub fn main(preloaded: &Preload) -> ExitCode {
    let cli = Cli::parse();
    let filter = match log_filter(&cli.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: --log {}: {error}", cli.log);
            return ExitCode::from(2);
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(false).without_time().with_target(false).compact().init();
    if let Preload::Failed(path, error) = preloaded {
        tracing::warn!("no GPU: {} cannot be loaded: {error}", path.display());
    }
    let result = match &cli.command {
        Command::Train { options, steps } => {
            run(options, |context, cases, sink| train::run(context, cases, *steps, sink))
        }
        Command::Infer { options, infer } => {
            run(options, |context, cases, sink| infer::run(context, cases, infer, sink))
        }
        Command::Data { options } => run(options, data::run),
        Command::Fetch { checkpoint } => fetch(checkpoint),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs a bench, prints each result as soon as it is complete, writes the report and compares it with the baseline.
fn run(
    options: &Options,
    bench: impl FnOnce(&BenchContext, &[String], OutcomeSink<'_>) -> Result<()>,
) -> Result<ExitCode> {
    // The baseline is read first: an invalid file must not cost minutes of measuring.
    let earlier = options.baseline.as_deref().map(Report::read).transpose()?;
    if options.against.is_empty() && options.python.is_some() {
        bail!("--python is given without --against; add --against or remove --python");
    }
    nb_train::run::set_threads(options.thread_count())?;
    let context = BenchContext::new(options)?;
    let mut results = Vec::new();
    bench(&context, &options.cases, &mut |outcome| {
        println!("{}", show::outcome(&outcome));
        results.push(outcome);
    })?;
    let device = nb_train::plan::device(context.device)?;
    let conditions = Conditions { threads: context.threads, busy_threads: context.rounds.busy_threads };
    let (host, commit) = (Host::detect(conditions, device), host::commit());
    let report = Report { host, commit, teacher: options.teacher_name(), results };
    if let Some(path) = &options.json {
        report.write(path)?;
    }
    Ok(earlier.map_or(ExitCode::SUCCESS, |earlier| compare_with_baseline(&earlier, &report)))
}

/// Prints the regressions of `report` and returns a failure if there are any.
fn compare_with_baseline(earlier: &Report, report: &Report) -> ExitCode {
    let regressions = baseline::regressions(earlier, report);
    println!("{} of {} cases are in the baseline", baseline::shared_cases(earlier, report), report.results.len());
    if earlier.host != report.host {
        println!(
            "note: the baseline was measured on a different machine, with different threads or beside another load"
        );
    }
    if earlier.teacher != report.teacher {
        println!("note: the baseline was measured with a different teacher, {}", earlier.teacher);
    }
    regressions.iter().for_each(|regression| println!("slower: {regression}"));
    if regressions.is_empty() {
        println!("nothing became slower by more than the noise");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// Downloads a checkpoint and prints its folder.
fn fetch(checkpoint: &str) -> Result<ExitCode> {
    let folder = checkpoint.parse::<CheckpointLocation>()?.download()?;
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}
