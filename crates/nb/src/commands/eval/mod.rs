//! `nb eval`: metrics of a trained model on labelled data of its task.

mod labels;
mod recommend;
mod retrieve;
mod topic;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nb_data::beir::Split;
use serde_json::Value;

use self::labels::LabelColumns;
use super::input::Input;
use crate::commands::choices::UnknownLabelsChoice;
use crate::commands::compute::Compute;
use crate::commands::corpus_model::CorpusModelOption;
use crate::model::Outputs;

#[derive(Debug, Args)]
#[command(
    after_help = "The model's task determines the --input: labelled texts (topic), a MIND folder or a file of impressions \
    with news.tsv beside it (recommend), a BEIR folder (retrieve).\n\n\
    Example: nb eval --model runs/quickstart/student --input data/sample/dev/news.tsv\n         \
    nb eval --model runs/ag/student --input dev.csv --label 0 --columns 1,2\n         \
    nb eval --model runs/mind/student --input MINDsmall_dev --seen-in MINDsmall_train\n         \
    nb eval --model runs/beir/student --input fiqa --split test"
)]
pub(crate) struct Eval {
    /// Model folder of a run
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    labels: LabelColumns,
    /// Treatment of texts whose label the model was not trained on (topic) [default: skip]
    #[arg(long, value_enum)]
    unknown_labels: Option<UnknownLabelsChoice>,
    /// MIND folder of the training data: also report metrics by whether the clicked articles occur in its impressions
    /// (recommend)
    #[arg(long, value_name = "FOLDER")]
    seen_in: Option<PathBuf>,
    /// Split of the folder's judgements (retrieve) [default: test]
    #[arg(long, value_enum)]
    split: Option<SplitChoice>,
    /// Count only documents of the corpus, including the one with the query's own id, and only queries with a relevant
    /// document in the corpus, with gain 2^y − 1 (retrieve). Without this option, metrics are those of trec_eval and BEIR:
    /// every judged query counts, and the gain is linear
    #[arg(long)]
    judged_only: bool,
    #[command(flatten)]
    corpus_model: CorpusModelOption,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SplitChoice {
    Train,
    Dev,
    Test,
}

impl From<SplitChoice> for Split {
    fn from(choice: SplitChoice) -> Self {
        match choice {
            SplitChoice::Train => Self::Train,
            SplitChoice::Dev => Self::Dev,
            SplitChoice::Test => Self::Test,
        }
    }
}

impl Eval {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let model = self.compute.load(&self.model)?;
        let outputs = model.outputs()?;
        self.refuse_options_of_other_tasks(outputs, model.task())?;
        let metrics = match outputs {
            Outputs::Topics => self.topic(&model)?,
            Outputs::Readers => self.recommend(&model)?,
            Outputs::Vectors => self.retrieve(&model)?,
        };
        say!("{:#}", Value::Object(metrics));
        Ok(ExitCode::SUCCESS)
    }

    /// Refuses options of tasks other than the model's.
    fn refuse_options_of_other_tasks(&self, outputs: Outputs, task: &str) -> Result<()> {
        let given = [
            (self.labels.given().unwrap_or_default(), self.labels.given().is_some() && outputs != Outputs::Topics),
            ("--unknown-labels", self.unknown_labels.is_some() && outputs != Outputs::Topics),
            ("--seen-in", self.seen_in.is_some() && outputs != Outputs::Readers),
            ("--split", self.split.is_some() && outputs != Outputs::Vectors),
            ("--corpus-model", self.corpus_model.folder().is_some() && outputs != Outputs::Vectors),
            ("--judged-only", self.judged_only && outputs != Outputs::Vectors),
        ];
        match given.iter().find(|(_, is_misplaced)| *is_misplaced) {
            Some((option, _)) => bail!("{option} is given, but the model was trained for {task}"),
            None => Ok(()),
        }
    }
}
