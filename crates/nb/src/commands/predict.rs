//! `nb predict`: one JSON object per text, in input order.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nb_rank::argmax;
use serde_json::{Map, Value, json};

use super::compute::Compute;
use super::input::{Input, WINDOW};

#[derive(Debug, Args)]
#[command(after_help = "Example: nb predict --model runs/quickstart/student --input titles.txt\n         \
    head news.tsv | nb predict --model runs/quickstart/student --input - --format mind")]
pub(crate) struct Predict {
    /// Model folder of a run
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    #[command(flatten)]
    input: Input,
    /// Probabilities to print on each output line
    #[arg(long, value_enum, default_value = "best")]
    probabilities: Which,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Probability of the most probable label
    Best,
    /// Probability of every label
    All,
}

impl Predict {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let model = self.compute.load(&self.model)?;
        let labels = model.labels()?;
        let mut windows = self.input.windows(WINDOW, None, &model.fields())?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            for (article, probabilities) in articles.iter().zip(model.probabilities(&articles)?) {
                let mut line = Map::new();
                line.insert("line".into(), article.line.into());
                if let Some(id) = &article.id {
                    line.insert("id".into(), id.as_str().into());
                }
                let best = argmax(&probabilities).context("the model has no labels")?;
                line.insert("label".into(), labels[best].as_str().into());
                line.insert("probability".into(), json!(probabilities[best]));
                if self.probabilities == Which::All {
                    let all = labels.iter().cloned().zip(probabilities.iter().map(|p| json!(p)));
                    line.insert("probabilities".into(), Value::Object(all.collect()));
                }
                writeln!(out, "{}", Value::Object(line))?;
            }
            out.flush()?;
        }
        windows.check()?;
        model.log_truncated();
        Ok(ExitCode::SUCCESS)
    }
}
