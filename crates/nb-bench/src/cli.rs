//! The commands of `nb-bench`, and how they end: 0 done, 1 failed or slower than the baseline, 2 wrong usage.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nb_checkpoint::CheckpointLocation;
use nb_torch::cuda::Preload;
use nb_train::config::{DeviceChoice, PrecisionChoice};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::host::{self, Host};
use crate::random::Shape;
use crate::report::{Outcome, Report};
use crate::setting::{Against, Setting};
use crate::{baseline, data, infer, show, train};

/// The teacher of `configs/ag-news.yaml`.
const TEACHER: &str = "hf:sentence-transformers/all-MiniLM-L6-v2";

const TRAIN: &str = "\
Examples:
  nb-bench train --case ag-64 --precision f32
  nb-bench train --case ag-titles --batch 128 --threads 1
  nb-bench train --random 12x768 --layers 4 --batch 256 --precision bf16 --device cuda
  nb-bench train --against torch --python venv/bin/python --json train.json";

const INFER: &str = "\
Examples:
  nb-bench infer --case one-title
  nb-bench infer --layers 4 --against torch,onnx --python venv/bin/python";

const DATA: &str = "\
Examples:
  nb-bench data
  nb-bench data --case tokenise --json now.json --baseline before.json";

#[derive(Debug, Parser)]
#[command(name = "nb-bench", version, about = "Measures NewsBERT on this machine", max_term_width = 110)]
struct Cli {
    /// What is said meanwhile, on standard error: error, warn, info or debug
    #[arg(long, global = true, env = "NB_LOG", default_value = "nb_bench=info,warn", value_name = "LEVEL")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Training steps: sequences, tokens and operations per second, phases, memory
    #[command(after_help = TRAIN)]
    Train {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        steps: train::Steps,
    },
    /// Teacher and student at work: one title, and many texts
    #[command(after_help = INFER)]
    Infer {
        #[command(flatten)]
        options: Options,
    },
    /// Reading and tokenising
    #[command(after_help = DATA)]
    Data {
        #[command(flatten)]
        options: Options,
    },
    /// Download a checkpoint from the Hugging Face hub into its cache
    #[command(hide = true)]
    Fetch {
        /// hf:owner/name
        checkpoint: String,
    },
}

/// Number formats to measure in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precisions {
    /// 32-bit floats.
    F32,
    /// bfloat16 products.
    Bf16,
    /// One after the other.
    Both,
}

impl Precisions {
    pub(crate) fn choices(self) -> Vec<PrecisionChoice> {
        match self {
            Self::F32 => vec![PrecisionChoice::F32],
            Self::Bf16 => vec![PrecisionChoice::Bf16],
            Self::Both => vec![PrecisionChoice::F32, PrecisionChoice::Bf16],
        }
    }
}

/// What all benches take.
#[derive(Debug, Args)]
pub struct Options {
    /// A case; repeats [default: all]
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,
    /// Number format of the products
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) precision: Precisions,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU16>,
    /// Rounds, each of all sides in turn
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) rounds: NonZeroU16,
    /// The large model: a Hugging Face folder, or hf:owner/name
    #[arg(long, value_name = "PATH", default_value = TEACHER)]
    pub(crate) teacher: String,
    /// Give the large model this shape and random weights, and --teacher's tokenizer: layers and hidden units, as 12x768
    #[arg(long, value_name = "LxH")]
    pub(crate) random: Option<Shape>,
    /// Layers of the small one
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) layers: usize,
    /// A folder that holds ag_news/ and clicks/; where one is missing, the sample corpus takes its place
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_parser = |s: &str| s.parse::<DeviceChoice>().map_err(|()| "expected auto, cpu, cuda or cuda:N"))]
    pub(crate) device: DeviceChoice,
    /// What to run beside ours, in turns
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER")]
    pub(crate) against: Vec<Against>,
    /// The Python of --against
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// Write the results here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Results of an earlier call; exit 1 if a case is slower now by more than the noise
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

impl Options {
    /// The large model in words.
    fn named_teacher(&self) -> String {
        self.random
            .map_or_else(|| self.teacher.clone(), |Shape { layers, hidden }| format!("{layers}x{hidden}, random"))
    }

    /// CPU threads of both sides.
    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(cores, |threads| usize::from(threads.get()))
    }
}

/// The log filter for a level or a filter's text. It limits the HTTP client to warnings: at `trace` that shows requests byte by
/// byte, the hub's token among them.
fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    let limits = ["ureq=warn", "ureq_proto=warn", "ureq_proto::util=warn"];
    let filter = EnvFilter::try_new(level)?;
    limits.iter().try_fold(filter, |filter, limit| Ok(filter.add_directive(limit.parse()?)))
}

/// Reads the command line, runs the command, and says how it ended.
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
            run(options, |setting, cases, found| train::run(setting, cases, *steps, found))
        }
        Command::Infer { options } => run(options, infer::run),
        Command::Data { options } => run(options, data::run),
        Command::Fetch { checkpoint } => fetch(checkpoint),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Takes each result when it is there.
pub(crate) type Found<'a> = &'a mut dyn FnMut(&Outcome);

/// Measures, shows each result when it is there, writes the file, and compares with the baseline.
fn run(options: &Options, bench: impl FnOnce(&Setting, &[String], Found<'_>) -> Result<()>) -> Result<ExitCode> {
    // Before anything is measured: a file that is none should not cost minutes.
    let before = options.baseline.as_deref().map(Report::read).transpose()?;
    if options.against.is_empty() && options.python.is_some() {
        bail!("--python is given, but nothing is run --against ours");
    }
    nb_train::run::set_threads(options.threads())?;
    let setting = Setting::new(options)?;
    let mut results = Vec::new();
    bench(&setting, &options.cases, &mut |outcome| {
        println!("{}", show::outcome(outcome));
        results.push(outcome.clone());
    })?;
    let device = nb_train::plan::device(setting.device)?;
    let (host, commit) = (Host::here(setting.threads, device), host::commit());
    let report = Report { host, commit, teacher: options.named_teacher(), results };
    if let Some(path) = &options.json {
        report.write(path)?;
    }
    let Some(before) = before else { return Ok(ExitCode::SUCCESS) };
    let slower = baseline::slower(&before, &report);
    println!("{} of {} cases are in the baseline too", baseline::in_common(&before, &report), report.results.len());
    if before.host != report.host {
        println!("note: the baseline was measured on another machine or with other threads");
    }
    if before.teacher != report.teacher {
        println!("note: the baseline was measured with another teacher, {}", before.teacher);
    }
    slower.iter().for_each(|case| println!("slower: {case}"));
    if slower.is_empty() {
        println!("nothing became slower by more than the noise");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn fetch(checkpoint: &str) -> Result<ExitCode> {
    let folder = checkpoint.parse::<CheckpointLocation>()?.download()?;
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}
