//! Where the texts come from: the checked form of the configuration's `data`.

mod recommend;
mod retrieve;
mod topic;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_checkpoint::ArticleField;
use nb_data::batch::MIN_TOKENS;
use nb_data::read::Field;

use crate::config::{ClickedBeforeChoice, DataConfig, DataFormat, RunConfig, TaskChoice, data_field};
pub use recommend::{ClickLog, RecommendPlan, click_log};
pub use retrieve::{QueryLog, RetrievePlan};
pub use topic::TopicPlan;

/// More news beside a row than any batch has room for.
const MOST_NEGATIVES: usize = 1000;

/// Where the texts come from.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// What is trained for, and its files.
    pub task: TaskPlan,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// How many texts a row has: 1 or 2.
    pub texts: usize,
    /// The parts of the news that are read; none where the format has columns of its own.
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

/// Where the development rows come from.
#[derive(Debug, Clone)]
pub enum Dev<T> {
    /// Files of their own.
    Given(T),
    /// This share of the training rows.
    Fraction(f64),
}

/// Checks the configuration's `data`, and writes the defaults that were taken back into it.
///
/// # Errors
/// With the key, what stands there and what was expected.
pub(super) fn data(config: &mut RunConfig) -> Result<DataPlan> {
    let (data, reader) = (&config.data, &config.reader);
    if data.max_tokens < MIN_TOKENS {
        bail!("data.max_tokens is {}, expected at least {MIN_TOKENS}: [CLS], a token and [SEP]", data.max_tokens);
    }
    if !(0.0..=1.0).contains(&data.allow_unusable) {
        bail!("data.allow_unusable is {}, expected a share from 0 to 1", data.allow_unusable);
    }
    if reader.self_attention.is_some() && config.task != TaskChoice::Recommend {
        bail!("reader.self_attention is given, but only task: recommend has readers");
    }
    let (task, texts) = match config.task {
        TaskChoice::Topic => topic::plan(data)?,
        TaskChoice::Recommend => recommend::plan(data, reader.self_attention)?,
        TaskChoice::Retrieve => retrieve::plan(data)?,
    };
    let fields = match data.format {
        DataFormat::Mind | DataFormat::Beir => news_fields(data),
        DataFormat::Csv | DataFormat::Tsv => Vec::new(),
    };
    let cache = data.cache.clone().unwrap_or_else(|| cache_folder().join("tokens"));
    let plan = DataPlan { task, max_tokens: data.max_tokens, texts, fields, cache };
    fill_in(&mut config.data, &plan);
    Ok(plan)
}

/// The project's folder in the user's cache: `$XDG_CACHE_HOME/newsbert`, else `~/.cache/newsbert`, else below the
/// folder for temporary files.
pub fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("newsbert")
}

/// Writes the defaults that were taken back into the configuration.
fn fill_in(config: &mut DataConfig, plan: &DataPlan) {
    let fraction = match &plan.task {
        TaskPlan::Topic(TopicPlan { dev: Dev::Fraction(fraction), .. })
        | TaskPlan::Recommend(RecommendPlan { dev: Dev::Fraction(fraction), .. })
        | TaskPlan::Retrieve(RetrievePlan { dev: Dev::Fraction(fraction), .. }) => Some(*fraction),
        _ => None,
    };
    config.dev_fraction = config.dev_fraction.or(fraction);
    config.cache = Some(plan.cache.clone());
    match &plan.task {
        TaskPlan::Topic(own) => config.unknown_labels = Some(own.unknown_labels),
        TaskPlan::Recommend(own) => {
            (config.history, config.negatives) = (Some(own.history), Some(own.negatives));
            config.clicked_before = config.clicked_before.or(Some(ClickedBeforeChoice::Keep));
        }
        TaskPlan::Retrieve(own) => config.negatives = Some(own.negatives),
    }
    match config.format {
        DataFormat::Mind | DataFormat::Beir => config.fields = Some(plan.fields.clone()),
        DataFormat::Csv | DataFormat::Tsv => {
            config.header = Some(config.header.unwrap_or(false));
            config.quoting = Some(config.quoting.unwrap_or_default());
        }
    }
}

/// The development rows: of files of their own, or a share of the training rows.
fn dev<T>(config: &DataConfig, given: impl FnOnce(&Path) -> Result<T>) -> Result<Dev<T>> {
    match (&config.dev, config.dev_fraction) {
        (Some(path), None) => Ok(Dev::Given(given(path)?)),
        (None, fraction) => {
            let fraction = fraction.unwrap_or(0.1);
            if !(fraction > 0.0 && fraction < 1.0) {
                bail!("data.dev_fraction is {fraction}, expected a share between 0 and 1");
            }
            Ok(Dev::Fraction(fraction))
        }
        (Some(_), Some(_)) => bail!("data.dev and data.dev_fraction are both given, expected one of them"),
    }
}

/// Refuses keys that the task or its format has no use for.
fn refuse(given: &[(&str, bool)], why: &str) -> Result<()> {
    match given.iter().find(|(_, is)| *is) {
        Some((key, _)) => bail!("data.{key} is given, but {why}"),
        None => Ok(()),
    }
}

fn is_file(key: &str, path: &Path) -> Result<()> {
    if !path.is_file() {
        bail!("{key} is {}, but there is no such file", path.display());
    }
    Ok(())
}

/// The parts of the news that are read.
fn news_fields(config: &DataConfig) -> Vec<ArticleField> {
    config.fields.clone().unwrap_or_else(|| vec![ArticleField::Title, ArticleField::Abstract])
}

fn fields(config: &DataConfig) -> Vec<Field> {
    news_fields(config).into_iter().map(data_field).collect()
}
