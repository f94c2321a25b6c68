//! `nb rank`: MIND's `prediction.txt`, the ranks of each impression's articles.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickFiles, ClickRule};
use nb_data::read::Source;
use nb_eval::ranks;
use nb_files::AtomicFile;
use nb_rank::CandidateScores;

use super::catalogue::{Catalogue, read_behaviors};
use super::compute::Compute;
use super::input::share;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: nb rank --model runs/mind/student --news test/news.tsv --behaviors test/behaviors.tsv \
    --output prediction.txt\n\
    Each line contains an impression's id and the ranks of its articles, in the impression's order: `1 [2,3,1]`. \
    Articles that are missing from --news come last; articles with equal scores keep the impression's order. MIND's evaluation \
    script computes the same metrics from this file as `nb eval`."
)]
pub(crate) struct Rank {
    /// Model folder of a run with task: recommend
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// Articles: MIND's news.tsv, or EB-NeRD's articles.parquet
    #[arg(long, value_name = "FILE")]
    news: PathBuf,
    /// Impressions: MIND's behaviors.tsv, with or without the labels -0 and -1; or EB-NeRD's behaviors.parquet, with its
    /// history.parquet beside it
    #[arg(long, value_name = "FILE")]
    behaviors: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Largest accepted share of unusable rows
    #[arg(long, default_value_t = Source::ALLOWED_UNUSABLE, value_name = "SHARE", value_parser = share)]
    allow_unusable: f64,
    #[command(flatten)]
    compute: Compute,
}

impl Rank {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let cannot_write = || format!("cannot write {}", self.output.display());
        if self.output.is_dir() {
            bail!("--output is {}, which is a folder; expected a file", self.output.display());
        }
        AtomicFile::create(&self.output).map(drop).with_context(cannot_write)?; // fails before all the work, not after it
        let model = self.compute.load(&self.model)?;
        model.require_readers()?;
        let files = ClickFiles::of(&self.news, &self.behaviors);
        let history = model.trained()?.history.unwrap_or(usize::MAX);
        let catalogue = Catalogue::read(&model, &files, self.allow_unusable)?;
        let source = BehaviorSource {
            path: files.behaviors.clone(),
            history,
            clicks: ClickRule::Optional,
            allowed_unusable: self.allow_unusable,
        };
        let behaviors = read_behaviors(&source, &files.form, &catalogue.ids)?;
        let scores = model.score_clicks(&catalogue.vectors, &behaviors)?;
        self.write(&behaviors, &scores).with_context(cannot_write)?;
        tracing::info!("wrote the ranks of {} impressions to {}", behaviors.len(), self.output.display());
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the file atomically, so there is none after an error.
    fn write(&self, behaviors: &Behaviors, scores: &CandidateScores) -> Result<()> {
        let mut out = BufWriter::new(AtomicFile::create(&self.output)?);
        for i in 0..behaviors.len() {
            let ranks: Vec<String> = ranks(scores.impression(i))?.iter().map(ToString::to_string).collect();
            writeln!(out, "{} [{}]", behaviors.id(i), ranks.join(","))?;
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_and_commit()?;
        Ok(())
    }
}
