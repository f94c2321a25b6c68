//! The files of recommendation: MIND folders.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_data::behaviors::{BehaviorSource, ClickRule, ClickedBefore};
use nb_data::read::{Format, LabelRule, Source};

use super::{Dev, MOST_NEGATIVES, TaskPlan, dev, fields, is_file, news_fields, refuse};
use crate::config::{ClickedBeforeChoice, ConfigError, DataConfig, DataFormat};

/// MIND's names in a folder.
const NEWS: &str = "news.tsv";
const BEHAVIORS: &str = "behaviors.tsv";
/// Most recent clicks of a reader that are read, unless said otherwise: what NRMS and the paper use.
const HISTORY: usize = 50;
/// News that were shown and not clicked beside each click, unless said otherwise.
const NEGATIVES: usize = 4;

/// The files of recommendation.
#[derive(Debug, Clone)]
pub struct RecommendPlan {
    /// Training impressions.
    pub train: ClickLog,
    /// Development impressions.
    pub dev: Dev<ClickLog>,
    /// Impressions that nothing is chosen by.
    pub test: Option<ClickLog>,
    /// News without readers.
    pub unlabelled: Option<Source>,
    /// Most recent clicks of a reader.
    pub history: usize,
    /// News that were not clicked beside each click.
    pub negatives: usize,
    /// What becomes of a training click on a news of the history.
    pub clicked_before: ClickedBefore,
    /// Heads of the reader model's self-attention, if it has one.
    pub self_attention: Option<i64>,
}

/// News and what readers did with them.
#[derive(Debug, Clone)]
pub struct ClickLog {
    /// The news.
    pub news: Source,
    /// The impressions.
    pub behaviors: BehaviorSource,
}

/// The plan, and how many texts a news has.
pub(super) fn plan(config: &DataConfig, self_attention: Option<i64>) -> Result<(TaskPlan, usize)> {
    if config.format != DataFormat::Mind {
        let why = "task: recommend reads mind";
        bail!(ConfigError::conflict("data.format", config.format.name(), why).and("task"));
    }
    refuse(
        &[
            ("columns", config.columns.is_some()),
            ("header", config.header.is_some()),
            ("quoting", config.quoting.is_some()),
            ("unknown_labels", config.unknown_labels.is_some()),
        ],
        "MIND's files have fixed columns, no header and no quoting, and readers no labels",
    )?;
    let (history, negatives) = (config.history.unwrap_or(HISTORY), config.negatives.unwrap_or(NEGATIVES));
    if history == 0 {
        bail!(ConfigError::expected("data.history", 0, "at least 1"));
    }
    if !(1..=MOST_NEGATIVES).contains(&negatives) {
        bail!(ConfigError::expected("data.negatives", negatives, format!("1 to {MOST_NEGATIVES}")));
    }
    if let Some(heads) = self_attention.filter(|heads| *heads < 1) {
        bail!(ConfigError::expected("reader.self_attention", heads, "a number of heads of at least 1"));
    }
    let news = |path| Source {
        path,
        format: Format::MindNews { fields: fields(config) },
        labels: LabelRule::Optional,
        allowed_unusable: config.allow_unusable,
    };
    let log = |key: &str, path: &Path| {
        let (own, behaviors) = click_log(key, path)?;
        Ok::<_, anyhow::Error>(ClickLog {
            news: news(own),
            behaviors: BehaviorSource {
                path: behaviors,
                history,
                clicks: ClickRule::Required,
                allowed_unusable: config.allow_unusable,
            },
        })
    };
    let train = log("data.train", &config.train)?;
    let dev = dev(config, |path| log("data.dev", path))?;
    let clicked_before = match config.clicked_before {
        None | Some(ClickedBeforeChoice::Keep) => ClickedBefore::Keep,
        Some(ClickedBeforeChoice::LeaveOut) => ClickedBefore::LeaveOut,
    };
    let test = config.test.as_ref().map(|path| log("data.test", path)).transpose()?;
    if let Some(path) = &config.unlabelled {
        is_file("data.unlabelled", path)?;
    }
    let unlabelled = config.unlabelled.clone().map(news);
    let plan = RecommendPlan { train, dev, test, unlabelled, history, negatives, clicked_before, self_attention };
    Ok((TaskPlan::Recommend(plan), news_fields(config).len()))
}

/// The news and the impressions that `path` stands for: a MIND folder, or a file of impressions beside its `news.tsv`.
///
/// # Errors
/// If one of the two is not there, naming `key`.
pub fn click_log(key: &str, path: &Path) -> Result<(PathBuf, PathBuf)> {
    let behaviors = if path.is_dir() { path.join(BEHAVIORS) } else { path.to_owned() };
    let news = behaviors.with_file_name(NEWS);
    for file in [&behaviors, &news] {
        if !file.is_file() {
            let why = format!(
                "there is no {}; expected a folder with {NEWS} and {BEHAVIORS}, or a file of impressions beside its \
                 {NEWS}",
                file.display()
            );
            bail!(ConfigError::conflict(key, path.display(), why));
        }
    }
    Ok((news, behaviors))
}
