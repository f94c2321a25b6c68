//! What the user typed: the YAML of a run, read strictly.
//!
//! The types mirror the file and nothing more. What follows from them, and whether they go together, is
//! [`crate::plan::Plan`]'s business; the rest of the crate never sees these types.

mod checkpoints;
mod choices;
mod course;
mod locate;
mod method;
mod models;
mod read;
mod tree;

use std::path::PathBuf;

use nb_checkpoint::ArticleField;
use serde::{Deserialize, Serialize};

pub use checkpoints::{CheckpointEvery, CheckpointsConfig, NotFiniteChoice, OnCheckpointError};
pub use choices::{
    ColumnKey, DeviceChoice, EvalEvery, PrecisionChoice, QuotingChoice, StudentInit, TaskChoice, UnknownLabels,
};
pub use course::{CourseConfig, CourseShape, RuleChoice, RuleConfig, TemperatureConfig};
pub use locate::{point, point_within};
pub use method::{
    BlendChoice, EnsembleChoice, MethodConfig, PatienceChoice, ShareChoice, StageConfig, TeacherRoleChoice,
    WeightsConfig,
};
pub use models::{OutputsChoice, RandomConfig, StudentConfig, TeacherConfig, TeacherTrainConfig};
pub use read::{Override, overridden, read};
pub use tree::Tree;

/// One run, as `config.yaml` says it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The run's name; the configuration file's name if absent.
    pub name: Option<String>,
    /// The run folder; `runs/<name>` if absent.
    pub output: Option<PathBuf>,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Where to compute.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Number format of the products.
    #[serde(default)]
    pub precision: PrecisionChoice,
    /// CPU threads; all cores if absent.
    pub threads: Option<usize>,
    /// What is trained for.
    pub task: TaskChoice,
    /// The texts.
    pub data: DataConfig,
    /// The reader model (recommend).
    #[serde(default)]
    pub reader: ReaderConfig,
    /// The large model.
    pub teacher: TeacherConfig,
    /// The small model.
    #[serde(default)]
    pub student: StudentConfig,
    /// How the student learns.
    #[serde(default)]
    pub method: MethodConfig,
    /// The optimisation.
    #[serde(default)]
    pub train: TrainConfig,
    /// What is kept to go on with.
    #[serde(default)]
    pub checkpoints: CheckpointsConfig,
}

/// Where the texts are and how they are read.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The file format.
    pub format: DataFormat,
    /// Training rows: a file (topic), a MIND folder (recommend) or a BEIR folder (retrieve).
    pub train: PathBuf,
    /// Development rows; if absent, `dev_fraction` of the training rows is held out (retrieve: unless the folder brings
    /// `qrels/dev.tsv` along).
    pub dev: Option<PathBuf>,
    /// Share of the training rows held out where there are no development rows.
    pub dev_fraction: Option<f64>,
    /// Rows that nothing is chosen by: the best models are measured on them once, at the end.
    pub test: Option<PathBuf>,
    /// Texts without labels, which join every term that needs none: a file of `format` (topic), a `news.tsv` (recommend),
    /// a `corpus.jsonl` (retrieve).
    pub unlabelled: Option<PathBuf>,
    /// Where label and text stand (csv, tsv).
    pub columns: Option<ColumnsConfig>,
    /// Whether the first row names the columns (csv, tsv).
    pub header: Option<bool>,
    /// The meaning of a `"` (csv, tsv): `auto` if absent.
    pub quoting: Option<QuotingChoice>,
    /// The treatment of development and test rows whose label no training row has (topic): `skip` if absent.
    pub unknown_labels: Option<UnknownLabels>,
    /// Which parts of the news are read (mind, beir).
    pub fields: Option<Vec<ArticleField>>,
    /// Most recent clicks of a reader that are read (recommend).
    pub history: Option<usize>,
    /// What becomes of a training click on a news that the history holds already (recommend): `keep` if absent.
    pub clicked_before: Option<ClickedBeforeChoice>,
    /// News that were not clicked beside each click (recommend); given negatives beside each relevant news (retrieve).
    pub negatives: Option<usize>,
    /// Longest sequence in tokens, `[CLS]` and `[SEP]` included.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Largest share of unusable rows that is still no error.
    #[serde(default = "default_unusable")]
    pub allow_unusable: f64,
    /// Folder of the token stores; the user's cache folder if absent.
    pub cache: Option<PathBuf>,
}

fn default_max_tokens() -> usize {
    64
}
fn default_unusable() -> f64 {
    nb_data::read::Source::ALLOWED_UNUSABLE
}

/// File formats of labelled texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// MIND's `news.tsv`, with `behaviors.tsv` where readers count.
    Mind,
    /// Comma-separated values.
    Csv,
    /// Tab-separated values, quoted as CSV or not at all.
    Tsv,
    /// BEIR's folders of JSON lines.
    Beir,
}

impl DataFormat {
    /// The word in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mind => "mind",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Beir => "beir",
        }
    }
}

/// What becomes of a training click on a news that the reader's history holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClickedBeforeChoice {
    /// The history stays as the file has it.
    Keep,
    /// The history goes without that news, so that a model cannot learn to look for the candidate in it.
    LeaveOut,
}

/// The reader model.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReaderConfig {
    /// Heads of self-attention among the clicked news before they are pooled; none if absent.
    pub self_attention: Option<i64>,
}

/// Returns the field that readers of articles know by another type.
pub fn data_field(field: ArticleField) -> nb_data::read::Field {
    match field {
        ArticleField::Title => nb_data::read::Field::Title,
        ArticleField::Abstract => nb_data::read::Field::Abstract,
    }
}

/// Which columns hold what; by name or by number from 0.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnsConfig {
    /// The label's column.
    pub label: ColumnKey,
    /// One or two columns of text.
    pub text: Vec<ColumnKey>,
}

/// The optimisation.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training texts.
    pub epochs: u64,
    /// Updates at most.
    pub max_steps: Option<u64>,
    /// Sequences per micro-batch.
    pub batch: usize,
    /// Tokens per micro-batch, in place of `batch`.
    pub tokens: Option<usize>,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Peak learning rate of the student's encoder.
    pub lr: f64,
    /// Peak learning rate of the top layers; `lr` if absent.
    pub head_lr: Option<f64>,
    /// Peak learning rate of the teacher's encoder; `lr` if absent.
    pub teacher_lr: Option<f64>,
    /// Share of the steps over which the rate rises.
    pub warmup: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; 0 for no limit.
    pub clip: f64,
    /// When to evaluate.
    pub eval_every: EvalEvery,
    /// Evaluations without a better metric before stopping.
    pub patience: Option<u64>,
    /// Steps between two lines of `metrics.jsonl`.
    pub log_every: u64,
    /// What happens when a loss or a gradient is not finite.
    pub not_finite: NotFiniteChoice,
    /// Whether the backward pass computes once more what layers would keep: less memory, longer steps, the same result.
    pub recompute: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 2,
            max_steps: None,
            batch: 32,
            tokens: None,
            accumulate: 1,
            lr: 1e-4,
            head_lr: None,
            teacher_lr: None,
            warmup: 0.1,
            weight_decay: 0.01,
            clip: 1.0,
            eval_every: EvalEvery::Epoch,
            patience: None,
            log_every: 10,
            not_finite: NotFiniteChoice::Stop,
            recompute: false,
        }
    }
}
