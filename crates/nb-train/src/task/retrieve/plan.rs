//! The plan of retrieval: BEIR folders and settings.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use nb_data::BatchSize;
use nb_data::beir::{Folder, QueryLog, Split};
use nb_data::read::Source;

use crate::config::{ArticlesChoice, ConfigError, DataConfig, DataFormat, RunConfig};
use crate::method::{Method, Temperature, TermKind};
use crate::plan::files::{MAX_NEGATIVES, dev, fields, not_found, refuse, require_file, require_format};
use crate::plan::{Dev, SplitFiles, Splits, TaskKind, TaskPlan, TrainPlan};

/// The plan of retrieval.
#[derive(Debug, Clone)]
pub struct RetrievePlan {
    /// The queries of each split.
    pub splits: Splits<QueryLog>,
    /// The articles that take part in training.
    pub articles: ArticlesChoice,
    /// Number of judged negatives per relevant article.
    pub negatives: usize,
}

/// Retrieval as configurations name it.
#[derive(Debug)]
pub struct RetrieveKind;

impl TaskKind for RetrieveKind {
    fn name(&self) -> &'static str {
        "retrieve"
    }

    fn ranks(&self) -> bool {
        true
    }

    fn uses_unlabelled(&self, term: TermKind) -> bool {
        term.compares_texts()
    }

    fn plan(&self, config: &RunConfig) -> Result<Arc<dyn TaskPlan>> {
        Ok(Arc::new(RetrievePlan::new(&config.data)?))
    }
}

impl TaskPlan for RetrievePlan {
    fn name(&self) -> &'static str {
        RetrieveKind.name()
    }

    fn articles(&self) -> &Source {
        &self.splits.train.corpus
    }

    fn dev_fraction(&self) -> Option<f64> {
        self.splits.dev.fraction()
    }

    fn split_files(&self) -> Vec<SplitFiles> {
        self.splits.files(|log| vec![log.corpus.path.clone(), log.queries.path.clone(), log.qrels.clone()])
    }

    fn complete(&self, config: &mut DataConfig) {
        config.articles = Some(self.articles);
        config.negatives = Some(self.negatives);
    }

    /// Checks that every query has negatives, and that no temperature depends on masked scores.
    fn check_method(&self, method: &Method, train: &TrainPlan) -> Result<(), ConfigError> {
        if self.negatives == 0 && matches!(train.batch, BatchSize::Sequences(1)) {
            let expected = "at least 2, since a query's negatives are the other articles of the batch";
            return Err(ConfigError::expected("train.batch", 1, expected));
        }
        if matches!(method.temperature, Temperature::Flsw { .. }) {
            let why = "with task: retrieve, masked scores would determine the temperatures; use cwsm or a number";
            return Err(ConfigError::conflict("method.temperature.rule", "flsw", why).and("task"));
        }
        Ok(())
    }
}

impl RetrievePlan {
    fn new(config: &DataConfig) -> Result<Self> {
        require_format(config, "retrieve", &[DataFormat::Beir])?;
        refuse(
            &[
                ("unknown_labels", config.unknown_labels.is_some()),
                ("class_weights", config.class_weights.is_some()),
                ("history", config.history.is_some()),
                ("clicked_before", config.clicked_before.is_some()),
                ("eval", config.eval.is_some()),
            ],
            "there are neither labels nor readers",
        )?;
        let fields = fields(config);
        let open = |key: &str, folder: &Path, split| {
            let log = QueryLog::find(folder, split, &fields, config.allow_unusable);
            log.map_err(|missing| not_found(key, folder, &missing))
        };
        let train = open("data.train", &config.train, Split::Train)?;
        // A folder may have its own development queries.
        let has_dev = config.dev_fraction.is_none() && Folder::new(&config.train).qrels(Split::Dev).is_file();
        let dev = match &config.dev {
            None if has_dev => Dev::Given(open("data.train", &config.train, Split::Dev)?),
            _ => dev(config, |folder| Ok(open("data.dev", folder, Split::Dev)?))?,
        };
        let test = config.test.as_ref().map(|folder| open("data.test", folder, Split::Test)).transpose()?;
        if let Some(path) = &config.unlabelled {
            require_file("data.unlabelled", path)?;
        }
        let unlabelled = config.unlabelled.as_ref().map(|path| Source { path: path.clone(), ..train.corpus.clone() });
        let negatives = config.negatives.unwrap_or(0);
        if negatives > MAX_NEGATIVES {
            bail!(ConfigError::expected("data.negatives", negatives, format!("0 to {MAX_NEGATIVES}")));
        }
        Ok(Self {
            splits: Splits { train, dev, test, unlabelled },
            articles: config.articles.unwrap_or_default(),
            negatives,
        })
    }
}
