//! `cargo xtask data`: writes the sample corpus.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use nb_data::sample::{self, SampleSize};

use crate::progress::say;
use crate::project;

/// Where the sample corpus lies in the project.
pub(crate) const SAMPLE: &str = "data/sample";

const SAMPLE_EXAMPLES: &str = "\
Examples:
  cargo xtask data sample
  cargo xtask data sample --output /tmp/other --seed 7";

#[derive(Debug, clap::Args)]
#[command(after_help = SAMPLE_EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a corpus of generated news in MIND's format, for the quickstart and for trying things out
    #[command(after_help = SAMPLE_EXAMPLES)]
    Sample(SampleArgs),
}

#[derive(Debug, clap::Args)]
struct SampleArgs {
    /// The folder to write to [default: data/sample in the project]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// What the corpus is drawn from: the same seed gives the same files
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Command::Sample(SampleArgs { output, seed }) = self.command;
        let folder = output.unwrap_or_else(|| project::root().join(SAMPLE));
        let size = SampleSize::default();
        let written = sample::write(&folder, seed, size)?;
        say(format!("wrote {} rows to {}", size.train, written.train.display()));
        say(format!("wrote {} rows to {}", size.dev, written.dev.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the sample corpus, if it is not there.
pub(crate) fn ensure_sample() -> Result<()> {
    let folder = project::root().join(SAMPLE);
    if ["train", "dev"].iter().all(|split| folder.join(split).join("news.tsv").is_file()) {
        return Ok(());
    }
    sample::write(&folder, 0, SampleSize::default())?;
    say(format!("wrote the sample corpus to {}", folder.display()));
    Ok(())
}
