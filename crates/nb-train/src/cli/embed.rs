//! `nb embed`: one vector per text, in input order, as a safetensors file.

use std::io::{BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Compute;
use super::input::Input;
use crate::folder::file_beside;
use crate::inference::{Pooling, Trained, WINDOW};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: nb embed --model runs/quickstart/student --input titles.txt --output vectors.safetensors\n\
    The file holds `vectors` [texts, hidden units], f32, and `lines` [texts], the line of the input each came from."
)]
pub(super) struct Embed {
    /// A model folder of a run, or any Hugging Face BERT folder
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    #[command(flatten)]
    input: Input,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// How a text becomes one vector
    #[arg(long, value_enum, default_value = "attention")]
    pooling: Pooling,
    #[command(flatten)]
    compute: Compute,
}

impl Embed {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let (device, precision) = self.compute.apply()?;
        let model = Trained::load(&self.model, device, precision)?;
        let mut windows = self.input.windows(WINDOW, None, model.fields())?;
        let mut vectors = Spool::new(&self.output, model.hidden())?;
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            for (article, vector) in articles.iter().zip(model.vectors(&articles, self.pooling)?) {
                vectors
                    .push(article.line, &vector)
                    .with_context(|| format!("cannot write {}", self.output.display()))?;
            }
        }
        windows.check()?;
        let rows = vectors.finish(&self.output).with_context(|| format!("cannot write {}", self.output.display()))?;
        tracing::info!("{rows} vectors of {} units in {}", model.hidden(), self.output.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Vectors on their way into a safetensors file. Its header tells their number, which is known at the end only, so they
/// wait in a file beside it.
struct Spool {
    body: BufWriter<tempfile::NamedTempFile>,
    hidden: usize,
    lines: Vec<i64>,
}

impl Spool {
    fn new(output: &Path, hidden: usize) -> Result<Self> {
        let body = file_beside(output).with_context(|| format!("cannot write {}", output.display()))?;
        Ok(Self { body: BufWriter::new(body), hidden, lines: Vec::new() })
    }

    fn push(&mut self, line: u64, vector: &[f32]) -> Result<()> {
        self.lines.push(line as i64);
        for value in vector {
            self.body.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(self, output: &Path) -> Result<usize> {
        let rows = self.lines.len();
        let mut body = self.body.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        let bytes = rows * self.hidden * std::mem::size_of::<f32>();
        let lines = rows * std::mem::size_of::<i64>();
        let header = serde_json::json!({
            "lines": {"dtype": "I64", "shape": [rows], "data_offsets": [0, lines]},
            "vectors": {"dtype": "F32", "shape": [rows, self.hidden], "data_offsets": [lines, lines + bytes]},
        });
        // The format wants the tensors to begin at a multiple of eight; spaces after the JSON are allowed.
        let mut header = header.to_string();
        header.extend(std::iter::repeat_n(' ', (8 - header.len() % 8) % 8));
        let mut whole = file_beside(output)?;
        whole.write_all(&(header.len() as u64).to_le_bytes())?;
        whole.write_all(header.as_bytes())?;
        for line in &self.lines {
            whole.write_all(&line.to_le_bytes())?;
        }
        body.rewind()?;
        let copied = std::io::copy(&mut Read::take(body, bytes as u64), &mut whole)?;
        anyhow::ensure!(copied == bytes as u64, "wrote {copied} of {bytes} bytes");
        whole.persist(output)?;
        Ok(rows)
    }
}
