//! `nb eval`: a trained model on labelled data.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use nb_data::Labels;
use nb_eval::Confusion;
use serde_json::json;

use super::Compute;
use super::input::Input;
use crate::inference::{Trained, WINDOW};

#[derive(Debug, Args)]
#[command(after_help = "Example: nb eval --model runs/quickstart/student --input data/sample/dev/news.tsv\n         \
    nb eval --model runs/ag/student --input dev.csv --label 0 --columns 1,2")]
pub(super) struct Eval {
    /// A model folder of a run
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    #[command(flatten)]
    input: Input,
    /// The label's column, by number from 0 or by name (csv, tsv)
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    #[command(flatten)]
    compute: Compute,
}

impl Eval {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let (device, precision) = self.compute.apply()?;
        let model = Trained::load(&self.model, device, precision)?;
        let labels = Labels::from_names(model.labels()?.to_vec())?;
        let mut windows = self.input.windows(WINDOW, self.label.as_deref(), model.fields())?;
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        let mut unlabelled = 0;
        loop {
            let mut articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            let all = articles.len();
            articles.retain(|article| article.label.is_some());
            unlabelled += all - articles.len();
            for (article, p) in articles.iter().zip(model.probabilities(&articles)?) {
                truth.push(labels.encode(
                    article.label.as_deref().unwrap_or_default(),
                    article.line,
                    windows.name(),
                )?);
                predicted.push((0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0));
            }
        }
        if truth.is_empty() {
            bail!("the input holds no text with a label; csv and tsv need --label");
        }
        windows.check()?;
        let confusion = Confusion::new(&truth, &predicted)?;
        let metrics = json!({"texts": truth.len(), "unlabelled": unlabelled, "accuracy": confusion.accuracy(), "macro_f1": confusion.macro_f1()});
        say!("{metrics:#}");
        Ok(ExitCode::SUCCESS)
    }
}
