//! The checked form of the configuration's `data`: the files of a task.

mod files;
mod recommend;
mod retrieve;
mod topic;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_checkpoint::ArticleField;
use nb_data::batch::MIN_TOKENS;
use nb_data::read::{Format, Source};

pub use self::files::Dev;
pub use self::recommend::{ClickFiles, ClickLog, RecommendPlan};
pub use self::retrieve::{QueryLog, RetrievePlan};
pub use self::topic::TopicPlan;
use crate::config::{ConfigError, DataConfig, DataFormat, RunConfig, TaskChoice};

/// Files of a task and how they are read, checked.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// The task and its files.
    pub task: TaskPlan,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// Number of texts in a row: 1 or 2.
    pub texts: usize,
    /// Parts of an article that are read; none if the format has its own columns.
    pub fields: Vec<ArticleField>,
    /// Folder of the token stores.
    pub cache: PathBuf,
}

/// The files of a task.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a run has one of these, and it is read more often than moved")]
pub enum TaskPlan {
    /// Topic classification.
    Topic(TopicPlan),
    /// Recommendation.
    Recommend(RecommendPlan),
    /// Retrieval.
    Retrieve(RetrievePlan),
}

impl TaskPlan {
    /// Returns the word in configurations.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::Recommend(_) => "recommend",
            Self::Retrieve(_) => "retrieve",
        }
    }

    /// The articles of the training rows.
    fn train(&self) -> &Source {
        match self {
            Self::Topic(task) => &task.train,
            Self::Recommend(task) => &task.train.news,
            Self::Retrieve(task) => &task.train.corpus,
        }
    }

    fn unlabelled(&self) -> Option<&Source> {
        match self {
            Self::Topic(task) => task.unlabelled.as_ref(),
            Self::Recommend(task) => task.unlabelled.as_ref(),
            Self::Retrieve(task) => task.unlabelled.as_ref(),
        }
    }

    fn dev_fraction(&self) -> Option<f64> {
        match self {
            Self::Topic(task) => task.dev.fraction(),
            Self::Recommend(task) => task.dev.fraction(),
            Self::Retrieve(task) => task.dev.fraction(),
        }
    }
}

impl DataPlan {
    /// Checks the configuration's `data` and `reader`; `unlabelled` are the texts without labels that the method uses.
    ///
    /// # Errors
    /// If a value cannot be used, or a file is missing.
    pub(super) fn new(config: &RunConfig, unlabelled: Option<&Path>) -> Result<Self> {
        let (data, reader) = (&config.data, &config.reader);
        if data.max_tokens < MIN_TOKENS {
            let expected = format!("at least {MIN_TOKENS}: [CLS], a token and [SEP]");
            bail!(ConfigError::expected("data.max_tokens", data.max_tokens, expected));
        }
        if !(0.0..=1.0).contains(&data.allow_unusable) {
            bail!(ConfigError::expected("data.allow_unusable", data.allow_unusable, "a share from 0 to 1"));
        }
        if let (Some(heads), TaskChoice::Topic | TaskChoice::Retrieve) = (reader.self_attention, config.task) {
            let why = "only task: recommend has readers";
            bail!(ConfigError::conflict("reader.self_attention", heads, why).and("task"));
        }
        let task = match config.task {
            TaskChoice::Topic => TaskPlan::Topic(TopicPlan::new(data, unlabelled)?),
            TaskChoice::Recommend => TaskPlan::Recommend(RecommendPlan::new(data, reader, unlabelled)?),
            TaskChoice::Retrieve => TaskPlan::Retrieve(RetrievePlan::new(data, unlabelled)?),
        };
        Ok(Self {
            max_tokens: data.max_tokens,
            texts: texts(&task.train().format),
            fields: match data.format {
                DataFormat::Mind | DataFormat::Beir => files::article_fields(data),
                DataFormat::Csv | DataFormat::Tsv => Vec::new(),
            },
            cache: data.cache.clone().unwrap_or_else(|| cache_folder().join("tokens")),
            task,
        })
    }

    /// Returns the configuration with every default filled in.
    pub(super) fn to_config(&self, typed: &DataConfig) -> DataConfig {
        let mut config = DataConfig {
            dev_fraction: typed.dev_fraction.or(self.task.dev_fraction()),
            unlabelled: self.task.unlabelled().map(|source| source.path.clone()),
            cache: Some(self.cache.clone()),
            ..typed.clone()
        };
        match &self.task {
            TaskPlan::Topic(task) => config.unknown_labels = Some(task.unknown_labels),
            TaskPlan::Recommend(task) => {
                config.history = Some(task.history);
                config.negatives = Some(task.negatives);
                config.clicked_before = Some(typed.clicked_before.unwrap_or_default());
            }
            TaskPlan::Retrieve(task) => config.negatives = Some(task.negatives),
        }
        match typed.format {
            DataFormat::Mind | DataFormat::Beir => config.fields = Some(self.fields.clone()),
            DataFormat::Csv | DataFormat::Tsv => {
                config.header = Some(typed.header.unwrap_or(false));
                config.quoting = Some(typed.quoting.unwrap_or_default());
            }
        }
        config
    }
}

/// Returns the project's folder in the user's cache: `$XDG_CACHE_HOME/newsbert`, else `~/.cache/newsbert`, else below the
/// folder for temporary files.
pub fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("newsbert")
}

/// The number of texts in a row of a format.
fn texts(format: &Format) -> usize {
    match format {
        Format::Csv(layout) => layout.text.len(),
        Format::MindNews { fields } | Format::BeirCorpus { fields } => fields.len(),
        _ => 1,
    }
}
