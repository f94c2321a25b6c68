//! The plan of recommendation: MIND folders and settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use nb_checkpoint::BertConfig;
use nb_data::behaviors::{BehaviorSource, ClickFiles, ClickRule, ClickedBefore, EbnerdFiles, ImpressionForm};
use nb_data::read::Source;

use crate::config::{
    ArticlesChoice, ClickedBeforeChoice, ConfigError, DataConfig, DataFormat, ReaderConfig, RunConfig,
};
use crate::method::TermKind;
use crate::plan::files::{MAX_NEGATIVES, dev, fields, not_found, refuse, require_file, require_format};
use crate::plan::texts::{DatasetSplit, Labelling, TextFiles};
use crate::plan::{SplitFiles, Splits, TaskKind, TaskPlan};

/// Default number of a reader's most recent clicks, as in NRMS and the paper.
const HISTORY: usize = 50;
/// Default number of unclicked articles per click.
const NEGATIVES: usize = 4;

/// The plan of recommendation.
#[derive(Debug, Clone)]
pub struct RecommendPlan {
    /// The impressions of each split.
    pub splits: Splits<ClickLog>,
    /// Number of a reader's most recent clicks.
    pub history: usize,
    /// The articles that take part in training.
    pub articles: ArticlesChoice,
    /// Number of unclicked articles per click.
    pub negatives: usize,
    /// Treatment of a training click on an article of the history.
    pub clicked_before: ClickedBefore,
    /// Heads of the reader model's self-attention, if it has one.
    pub self_attention: Option<i64>,
}

/// Articles and the impressions that show them.
#[derive(Debug, Clone)]
pub struct ClickLog {
    /// The articles.
    pub news: Source,
    /// The impressions.
    pub behaviors: BehaviorSource,
    /// Their form.
    pub form: ImpressionForm,
}

/// Recommendation as configurations name it.
#[derive(Debug)]
pub struct RecommendKind;

impl TaskKind for RecommendKind {
    fn name(&self) -> &'static str {
        "recommend"
    }

    fn ranks(&self) -> bool {
        true
    }

    fn uses_unlabelled(&self, term: TermKind) -> bool {
        term.compares_texts()
    }

    fn has_readers(&self) -> bool {
        true
    }

    fn plan(&self, config: &RunConfig) -> Result<Arc<dyn TaskPlan>> {
        Ok(Arc::new(RecommendPlan::new(&config.data, &config.reader)?))
    }
}

impl TaskPlan for RecommendPlan {
    fn name(&self) -> &'static str {
        RecommendKind.name()
    }

    fn articles(&self) -> &Source {
        &self.splits.train.news
    }

    fn dev_fraction(&self) -> Option<f64> {
        self.splits.dev.fraction()
    }

    fn split_files(&self) -> Vec<SplitFiles> {
        self.splits.files(log_files)
    }

    fn complete(&self, config: &mut DataConfig) {
        config.history = Some(self.history);
        config.articles = Some(self.articles);
        config.negatives = Some(self.negatives);
        config.clicked_before = Some(config.clicked_before.unwrap_or_default());
    }

    /// Checks that the heads of the reader model divide the hidden units of a model.
    fn check_model(&self, key: &str, model: &BertConfig) -> Result<(), ConfigError> {
        let hidden = model.hidden_size;
        match self.self_attention {
            Some(heads) if hidden % heads != 0 => {
                let expected = format!("a number of heads that divides the {hidden} hidden units of the {key}");
                Err(ConfigError::expected("reader.self_attention", heads, expected))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the files of a log of clicks.
pub(in crate::task) fn log_files(log: &ClickLog) -> Vec<PathBuf> {
    let history = match &log.form {
        ImpressionForm::Parquet(layout) => layout.history_file(),
        ImpressionForm::Mind => None,
    };
    let news = log.news.files().iter().chain(&log.news.translations);
    news.chain([&log.behaviors.path]).map(PathBuf::as_path).chain(history).map(Path::to_owned).collect()
}

impl RecommendPlan {
    fn new(config: &DataConfig, reader: &ReaderConfig) -> Result<Self> {
        require_format(config, "recommend", &[DataFormat::Mind, DataFormat::Ebnerd])?;
        refuse(
            &[
                ("unknown_labels", config.unknown_labels.is_some()),
                ("class_weights", config.class_weights.is_some()),
                ("eval", config.eval.is_some()),
            ],
            "readers have no labels",
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
        if let Some(path) = &config.unlabelled {
            require_file("data.unlabelled", path)?;
        }
        let log = |key, path: &Path| click_log(config, history, key, path);
        let splits = Splits {
            train: log("data.train", &config.train)?,
            dev: dev(config, |path| log("data.dev", path))?,
            test: config.test.as_ref().map(|path| log("data.test", path)).transpose()?,
            unlabelled: config.unlabelled.as_ref().map(|path| unlabelled(config, path)).transpose()?,
        };
        Ok(Self {
            splits,
            history,
            articles: config.articles.unwrap_or_default(),
            negatives,
            clicked_before: match config.clicked_before.unwrap_or_default() {
                ClickedBeforeChoice::Keep => ClickedBefore::Keep,
                ClickedBeforeChoice::LeaveOut => ClickedBefore::LeaveOut,
            },
            self_attention: reader.self_attention,
        })
    }
}

fn click_log(config: &DataConfig, history: usize, key: &str, path: &Path) -> Result<ClickLog> {
    let found = match config.format {
        DataFormat::Ebnerd => EbnerdFiles::find(path).map(ClickFiles::from),
        _ => ClickFiles::find(path),
    };
    let files = found.map_err(|missing| not_found(key, path, &missing))?;
    if config.format == DataFormat::Mind && files.form != ImpressionForm::Mind {
        let why = "the folder has a behaviors.parquet; set data.format to ebnerd";
        bail!(ConfigError::conflict(key, path.display(), why).and("data.format"));
    }
    let ClickFiles { behaviors, form, .. } = &files;
    Ok(ClickLog {
        news: articles_of(config, key, &files)?,
        behaviors: BehaviorSource {
            path: behaviors.clone(),
            history,
            clicks: ClickRule::Required,
            allowed_unusable: config.allow_unusable,
        },
        form: form.clone(),
    })
}

/// Returns the source of the articles of the data set that a key names.
pub(in crate::task) fn articles_of(config: &DataConfig, key: &str, files: &ClickFiles) -> Result<Source> {
    match (config.format, &files.form) {
        // The keys `encoding` and `translations` apply to all of MIND's files.
        (DataFormat::Mind, ImpressionForm::Mind) => {
            TextFiles::new(config, Labelling::Ignored)?.source(key, &files.news, DatasetSplit::Train)
        }
        _ => Ok(Source { allowed_unusable: config.allow_unusable, ..files.articles(&fields(config)) }),
    }
}

/// Returns the source of articles without readers: a file in the form of the training articles.
fn unlabelled(config: &DataConfig, path: &Path) -> Result<Source> {
    let files = match config.format {
        DataFormat::Ebnerd => ClickFiles::of(path, Path::new("behaviors.parquet")),
        _ => ClickFiles::of(path, Path::new("behaviors.tsv")),
    };
    articles_of(config, "data.unlabelled", &files)
}
