//! `nb embed`: one vector per text, in input order, as a safetensors file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use nb_rank::VectorWriter;

use super::choices::PoolingChoice;
use super::compute::{Changes, Compute};
use super::input::{Input, WINDOW};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: nb embed --model runs/quickstart/student --input titles.txt --output vectors.safetensors\n\
    The file contains `vectors` [texts, hidden units] in f32, and `lines` [texts], the input line of each vector."
)]
pub(crate) struct Embed {
    /// Model folder of a run, or any Hugging Face BERT folder
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    #[command(flatten)]
    input: Input,
    /// File to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Pooling of a text's token states into one vector
    #[arg(long, value_enum, default_value = "head")]
    pooling: PoolingChoice,
    /// Longest sequence in tokens, special tokens included; longer texts are truncated [default: data.max_tokens of the
    /// run, or the model's own limit for another BERT folder]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    #[command(flatten)]
    compute: Compute,
}

impl Embed {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let changes = Changes { pooling: self.pooling.untrained(), max_tokens: self.max_tokens };
        let model = self.compute.load_changed(&self.model, changes)?;
        if self.input.is_file(&self.output) {
            bail!("--output is {}, which is the input", self.output.display());
        }
        let mut windows = self.input.windows(WINDOW, None, &model.fields())?;
        let width = model.vector_width()?;
        let mut vectors = VectorWriter::new(&self.output, width)?;
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            for (article, vector) in articles.iter().zip(model.vectors(&articles)?) {
                vectors.push(article.line, &vector)?;
            }
        }
        windows.check()?;
        let rows = vectors.finish(None)?;
        model.log_truncated();
        tracing::info!("wrote {rows} vectors of {width} units to {}", self.output.display());
        Ok(ExitCode::SUCCESS)
    }
}
