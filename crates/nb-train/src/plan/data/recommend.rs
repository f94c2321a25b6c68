//! The files of recommendation: MIND folders.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_data::behaviors::{BehaviorSource, ClickRule, ClickedBefore};
use nb_data::read::{Format, LabelRule, Source};

use super::files::{Dev, MAX_NEGATIVES, dev, fields, refuse, require_file};
use crate::config::{ClickedBeforeChoice, ConfigError, DataConfig, DataFormat, ReaderConfig};

/// MIND's file of articles.
const NEWS: &str = "news.tsv";
/// MIND's file of impressions.
const BEHAVIORS: &str = "behaviors.tsv";
/// Number of a reader's most recent clicks that are read by default, as in NRMS and the paper.
const HISTORY: usize = 50;
/// Articles without a click beside each click by default.
const NEGATIVES: usize = 4;

/// The files of recommendation.
#[derive(Debug, Clone)]
pub struct RecommendPlan {
    /// Training impressions.
    pub train: ClickLog,
    /// Development impressions.
    pub dev: Dev<ClickLog>,
    /// Held-out impressions.
    pub test: Option<ClickLog>,
    /// Articles without readers.
    pub unlabelled: Option<Source>,
    /// Number of a reader's most recent clicks.
    pub history: usize,
    /// Articles without a click beside each click.
    pub negatives: usize,
    /// Treatment of a training click on an article of the history.
    pub clicked_before: ClickedBefore,
    /// Heads of the user model's self-attention, if it has one.
    pub self_attention: Option<i64>,
}

/// Articles and the impressions of them.
#[derive(Debug, Clone)]
pub struct ClickLog {
    /// The articles.
    pub news: Source,
    /// The impressions.
    pub behaviors: BehaviorSource,
}

/// The two files of a MIND folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickFiles {
    /// The articles: `news.tsv`.
    pub news: PathBuf,
    /// The impressions: `behaviors.tsv`, or a file of another name beside the `news.tsv`.
    pub behaviors: PathBuf,
}

impl ClickFiles {
    /// Finds the files that `path` stands for: a MIND folder, or a file of impressions beside its `news.tsv`. `key` is the
    /// key or the option that has the path as its value.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn find(key: &str, path: &Path) -> Result<Self, ConfigError> {
        let behaviors = if path.is_dir() { path.join(BEHAVIORS) } else { path.to_owned() };
        let files = Self { news: behaviors.with_file_name(NEWS), behaviors };
        let Some(missing) = [&files.behaviors, &files.news].into_iter().find(|file| !file.is_file()) else {
            return Ok(files);
        };
        let why = format!(
            "there is no {}; expected a folder with {NEWS} and {BEHAVIORS}, or a file of impressions beside its {NEWS}",
            missing.display()
        );
        Err(ConfigError::conflict(key, path.display(), why))
    }
}

impl RecommendPlan {
    pub(super) fn new(config: &DataConfig, reader: &ReaderConfig, unlabelled: Option<&Path>) -> Result<Self> {
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
            "MIND's files have fixed columns, no header and no quoting, and readers have no labels",
        )?;
        let history = config.history.unwrap_or(HISTORY);
        if history == 0 {
            bail!(ConfigError::expected("data.history", 0, "at least 1"));
        }
        let negatives = config.negatives.unwrap_or(NEGATIVES);
        if !(1..=MAX_NEGATIVES).contains(&negatives) {
            bail!(ConfigError::expected("data.negatives", negatives, format!("1 to {MAX_NEGATIVES}")));
        }
        if let Some(heads) = reader.self_attention.filter(|heads| *heads < 1) {
            bail!(ConfigError::expected("reader.self_attention", heads, "a number of heads of at least 1"));
        }
        if let Some(path) = unlabelled {
            require_file("data.unlabelled", path)?;
        }
        Ok(Self {
            train: click_log(config, history, "data.train", &config.train)?,
            dev: dev(config, |path| click_log(config, history, "data.dev", path))?,
            test: config.test.as_ref().map(|path| click_log(config, history, "data.test", path)).transpose()?,
            unlabelled: unlabelled.map(|path| news(config, path.to_owned())),
            history,
            negatives,
            clicked_before: match config.clicked_before.unwrap_or_default() {
                ClickedBeforeChoice::Keep => ClickedBefore::Keep,
                ClickedBeforeChoice::LeaveOut => ClickedBefore::LeaveOut,
            },
            self_attention: reader.self_attention,
        })
    }

    /// Checks that the heads of the user model divide the hidden units of a model.
    pub(in crate::plan) fn check_heads(&self, model: &str, hidden: i64) -> Result<(), ConfigError> {
        match self.self_attention {
            Some(heads) if hidden % heads != 0 => {
                let expected = format!("a number of heads that divides the {hidden} hidden units of the {model}");
                Err(ConfigError::expected("reader.self_attention", heads, expected))
            }
            _ => Ok(()),
        }
    }
}

fn click_log(config: &DataConfig, history: usize, key: &str, path: &Path) -> Result<ClickLog> {
    let files = ClickFiles::find(key, path)?;
    Ok(ClickLog {
        news: news(config, files.news),
        behaviors: BehaviorSource {
            path: files.behaviors,
            history,
            clicks: ClickRule::Required,
            allowed_unusable: config.allow_unusable,
        },
    })
}

fn news(config: &DataConfig, path: PathBuf) -> Source {
    Source {
        path,
        format: Format::MindNews { fields: fields(config) },
        labels: LabelRule::Optional,
        allowed_unusable: config.allow_unusable,
    }
}
