//! `nb embed`: one vector per text, in input order, as a safetensors file.

use std::io::{BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Compute;
use super::input::Input;
use crate::inference::{Pooling, Trained, WINDOW};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: nb embed --model runs/quickstart/student --input titles.txt --output vectors.safetensors\n\
    The file holds one tensor, `vectors` [texts, hidden units], f32."
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
        let mut windows = self.input.windows(WINDOW, None)?;
        let mut vectors = Spool::new(&self.output, model.hidden())?;
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            for vector in model.vectors(&articles, self.pooling)? {
                vectors.push(&vector)?;
            }
        }
        let rows = vectors.finish(&self.output)?;
        tracing::info!("{rows} vectors of {} units in {}", model.hidden(), self.output.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Vectors on their way into a safetensors file. Its header tells their number, which is known at the end only, so they
/// wait in a file beside it.
struct Spool {
    body: BufWriter<tempfile::NamedTempFile>,
    folder: PathBuf,
    hidden: usize,
    rows: usize,
}

impl Spool {
    fn new(output: &Path, hidden: usize) -> Result<Self> {
        let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let body = tempfile::NamedTempFile::new_in(&folder)
            .with_context(|| format!("cannot write in {}", folder.display()))?;
        Ok(Self { body: BufWriter::new(body), folder, hidden, rows: 0 })
    }

    fn push(&mut self, vector: &[f32]) -> Result<()> {
        self.rows += 1;
        for value in vector {
            self.body.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(self, output: &Path) -> Result<usize> {
        if self.rows == 0 {
            bail!("the input holds no text that can be used: {} was not written", output.display());
        }
        let mut body = self.body.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        let bytes = self.rows * self.hidden * std::mem::size_of::<f32>();
        let header = serde_json::json!({
            "vectors": {"dtype": "F32", "shape": [self.rows, self.hidden], "data_offsets": [0, bytes]}
        });
        // The format wants the tensors to begin at a multiple of eight; spaces after the JSON are allowed.
        let mut header = header.to_string();
        header.extend(std::iter::repeat_n(' ', (8 - header.len() % 8) % 8));
        let mut whole = tempfile::NamedTempFile::new_in(&self.folder)?;
        whole.write_all(&(header.len() as u64).to_le_bytes())?;
        whole.write_all(header.as_bytes())?;
        body.rewind()?;
        let copied = std::io::copy(&mut Read::take(body, bytes as u64), &mut whole)?;
        anyhow::ensure!(copied == bytes as u64, "wrote {copied} of {bytes} bytes");
        whole.persist(output).with_context(|| format!("cannot write {}", output.display()))?;
        Ok(self.rows)
    }
}
