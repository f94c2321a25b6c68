//! The section `data` of a configuration: the files of a task and how they are read.

use std::path::PathBuf;

use nb_checkpoint::{ArticleField, Truncation, Windows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choices::{ColumnKey, ColumnKeys, QuotingChoice, UnknownLabels};
use super::class_weights::ClassWeights;
use super::head::ReaderPoolingChoice;
use super::schema;

/// Files of a task and how they are read.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// File format.
    pub format: DataFormat,
    /// Training rows: a file or a folder of a data set (topic), a MIND or EB-NeRD folder (recommend), or a BEIR folder (retrieve).
    pub train: PathBuf,
    /// Development rows. Without them, `dev_fraction` of the training rows is held out (retrieve: unless the folder has
    /// a `qrels/dev.tsv`).
    pub dev: Option<PathBuf>,
    /// Share of the training rows that is held out where there are no development rows; 0.1 by default.
    pub dev_fraction: Option<f64>,
    /// Held-out rows, never used for model selection: the best models are measured on them once, at the end.
    pub test: Option<PathBuf>,
    /// Folders to measure ranking on (embed): BEIR folders, of which the test queries are read, or MIND folders.
    pub eval: Option<Vec<PathBuf>>,
    /// Texts without labels, which take part in every term that needs none: a file of `format` (topic), a `news.tsv`
    /// (recommend), a `corpus.jsonl` (retrieve, embed).
    pub unlabelled: Option<PathBuf>,
    /// Articles that take part in training (recommend, retrieve); `used` by default.
    pub articles: Option<ArticlesChoice>,
    /// Columns of label and text: by number or name (csv, tsv), or by key, with dots for nested ones (jsonl, parquet).
    pub columns: Option<ColumnsConfig>,
    /// True if the first row names the columns (csv, tsv); false by default.
    pub header: Option<bool>,
    /// Meaning of a `"` (csv, tsv); `auto` by default.
    pub quoting: Option<QuotingChoice>,
    /// Text between columns (csv, tsv), such as `;` or `_!_`; a comma or a tab by default.
    pub delimiter: Option<String>,
    /// Encoding of text files by name, such as `gbk` or `windows-1252`; UTF-8 by default, or UTF-16 after a byte-order mark.
    pub encoding: Option<String>,
    /// Translations of MIND's articles: a file of ids, titles and abstracts between tabs (mind).
    pub translations: Option<PathBuf>,
    /// Treatment of development and test rows whose label no training row has (topic); `skip` by default.
    pub unknown_labels: Option<UnknownLabels>,
    /// Weights of the classes in the hard loss (topic); `none` by default.
    pub class_weights: Option<ClassWeights>,
    /// Parts of an article that are read (mind, beir, ebnerd); title and abstract by default.
    #[serde(default)] // without it, a schema of its own would make the key required
    #[schemars(schema_with = "schema::article_fields")]
    pub fields: Option<Vec<ArticleField>>,
    /// Number of a reader's most recent clicks that are used (recommend); 50 by default.
    pub history: Option<usize>,
    /// Treatment of a training click on an article that is already in the history (recommend); `keep` by default.
    pub clicked_before: Option<ClickedBeforeChoice>,
    /// Articles without a click beside each click (recommend; 4 by default), or judged negatives beside each relevant
    /// article (retrieve; none by default).
    pub negatives: Option<usize>,
    /// True if the words of the texts are separated by spaces, as a program such as MeCab separates them for Japanese BERTs.
    pub pretokenized: Option<bool>,
    /// Longest sequence in tokens, `[CLS]` and `[SEP]` included.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Part that remains of a text with too many tokens: `head` (its beginning, the default) or `head_tail` (its beginning and
    /// its end).
    #[serde(default)]
    #[schemars(schema_with = "schema::truncation")]
    pub truncate: Option<Truncation>,
    /// Windows into which an article of more than `size` tokens is cut. Its vector is the mean of their pooled vectors, and
    /// `max_tokens` limits its tokens in total. No windows by default.
    #[serde(default)]
    #[schemars(schema_with = "schema::windows")]
    pub windows: Option<Windows>,
    /// Largest share of unusable rows that is not an error.
    #[serde(default = "default_unusable")]
    pub allow_unusable: f64,
    /// Folder of the token stores; by default in the user's cache folder.
    pub cache: Option<PathBuf>,
}

fn default_max_tokens() -> usize {
    64
}

fn default_unusable() -> f64 {
    nb_data::read::Source::ALLOWED_UNUSABLE
}

/// File format of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// MIND's `news.tsv`, and `behaviors.tsv` (recommend)
    Mind,
    /// Comma-separated values
    Csv,
    /// Tab-separated values
    Tsv,
    /// JSON lines: an object per line
    Jsonl,
    /// Parquet
    Parquet,
    /// A BEIR folder of JSON lines
    Beir,
    /// A folder of a split of EB-NeRD (recommend)
    Ebnerd,
}

impl DataFormat {
    /// The word in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mind => "mind",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Beir => "beir",
            Self::Ebnerd => "ebnerd",
        }
    }

    /// Returns true if the configuration names columns by keys.
    pub(crate) fn has_keys(self) -> bool {
        matches!(self, Self::Jsonl | Self::Parquet)
    }

    /// Returns true if articles have the parts that `data.fields` names.
    pub(crate) fn has_fields(self) -> bool {
        matches!(self, Self::Mind | Self::Beir | Self::Ebnerd)
    }

    /// Returns true if a folder of such files can be a data set of the library `datasets`.
    pub(crate) fn is_in_datasets(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Jsonl | Self::Parquet)
    }
}

/// Articles of a ranking task that take part in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArticlesChoice {
    /// Those of the training rows: clicked, shown, or relevant to a query
    #[default]
    Used,
    /// Also the others, as texts without labels
    All,
}

/// Treatment of a training click on an article that is already in the reader's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClickedBeforeChoice {
    /// Leave the history as it is in the file
    #[default]
    Keep,
    /// Remove the article from the history, so that a model cannot learn to look for the candidate there
    LeaveOut,
}

/// Reader model.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReaderConfig {
    /// Pooling of the clicked articles; by default `mean` for cosine scores, `attentive` for dot products.
    pub pooling: Option<ReaderPoolingChoice>,
    /// Heads of the self-attention over the clicked articles before they are pooled; no self-attention by default.
    pub self_attention: Option<i64>,
}

/// Converts a field of saved models to the field that article readers use.
pub fn data_field(field: ArticleField) -> nb_data::read::Field {
    match field {
        ArticleField::Title => nb_data::read::Field::Title,
        ArticleField::Abstract => nb_data::read::Field::Abstract,
    }
}

/// Converts the rule of saved models for texts with too many tokens to the one that tokenizers use.
pub(crate) fn data_truncation(truncation: Truncation) -> nb_data::tokenizer::Truncation {
    match truncation {
        Truncation::Head => nb_data::tokenizer::Truncation::Head,
        Truncation::HeadTail => nb_data::tokenizer::Truncation::HeadTail,
    }
}

/// Converts the windows of saved models to those that tokenizers use.
pub(crate) fn data_windows(windows: Windows) -> nb_data::tokenizer::Windows {
    nb_data::tokenizer::Windows { size: windows.size, stride: windows.stride }
}

/// Columns of a file: in csv and tsv by name or by number from 0, in jsonl and parquet by key.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnsConfig {
    /// Column of the label, if each text has one (topic).
    pub label: Option<ColumnKey>,
    /// Columns of the labels, if each text has any number of them (topic): one, or several.
    pub labels: Option<ColumnKeys>,
    /// Text between two labels in a column of `labels`, such as `|`; lists in jsonl and parquet need none.
    pub label_separator: Option<String>,
    /// Columns of 0 and 1, one for each label (topic): 1 if the text has the label that the column names.
    pub label_flags: Option<ColumnKeys>,
    /// Columns of text: the first is an article's first text, the others are joined by spaces into its second.
    pub text: Vec<ColumnKey>,
}
