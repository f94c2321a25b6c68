//! The files of retrieval: BEIR folders.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_data::beir::{Folder, Split};
use nb_data::read::{Field, Format, LabelRule, Source};

use super::{Dev, MOST_NEGATIVES, TaskPlan, dev, fields, is_file, news_fields, refuse};
use crate::config::{ConfigError, DataConfig, DataFormat};

/// The files of retrieval.
#[derive(Debug, Clone)]
pub struct RetrievePlan {
    /// Training queries.
    pub train: QueryLog,
    /// Development queries.
    pub dev: Dev<QueryLog>,
    /// Queries that nothing is chosen by.
    pub test: Option<QueryLog>,
    /// News without queries.
    pub unlabelled: Option<Source>,
    /// Given negatives beside each relevant news.
    pub negatives: usize,
}

/// News, queries, and which news answer which query.
#[derive(Debug, Clone)]
pub struct QueryLog {
    /// The news.
    pub corpus: Source,
    /// The queries.
    pub queries: Source,
    /// The judgements.
    pub qrels: PathBuf,
    /// The largest share of unusable rows that is still no error.
    pub allowed_unusable: f64,
}

impl QueryLog {
    /// One split of a BEIR folder.
    ///
    /// # Errors
    /// If a file is not there, naming `key`.
    pub fn open(key: &str, folder: &Path, split: Split, fields: &[Field], allowed: f64) -> Result<Self> {
        let files = Folder::new(folder);
        let source = |path, format| Source { path, format, labels: LabelRule::Optional, allowed_unusable: allowed };
        let log = Self {
            corpus: source(files.corpus(), Format::BeirCorpus { fields: fields.to_vec() }),
            queries: source(files.queries(), Format::BeirQueries),
            qrels: files.qrels(split),
            allowed_unusable: allowed,
        };
        if let Some(missing) = [&log.corpus.path, &log.queries.path, &log.qrels].into_iter().find(|p| !p.is_file()) {
            let why = format!(
                "there is no {}; expected a folder with corpus.jsonl, queries.jsonl and qrels/{}.tsv",
                missing.display(),
                split.name()
            );
            bail!(ConfigError::conflict(key, folder.display(), why));
        }
        Ok(log)
    }
}

/// The plan, and how many texts a news has.
pub(super) fn plan(config: &DataConfig) -> Result<(TaskPlan, usize)> {
    if config.format != DataFormat::Beir {
        let why = "task: retrieve reads beir";
        bail!(ConfigError::conflict("data.format", config.format.name(), why).and("task"));
    }
    refuse(
        &[
            ("columns", config.columns.is_some()),
            ("header", config.header.is_some()),
            ("quoting", config.quoting.is_some()),
            ("unknown_labels", config.unknown_labels.is_some()),
            ("history", config.history.is_some()),
            ("clicked_before", config.clicked_before.is_some()),
        ],
        "BEIR's files name their fields and know no readers",
    )?;
    let open = |key, folder: &Path, split| QueryLog::open(key, folder, split, &fields(config), config.allow_unusable);
    let train = open("data.train", &config.train, Split::Train)?;
    // A folder brings its own development queries along.
    let own = config.dev_fraction.is_none() && Folder::new(&config.train).qrels(Split::Dev).is_file();
    let dev = match &config.dev {
        None if own => Dev::Given(open("data.train", &config.train, Split::Dev)?),
        _ => dev(config, |folder| open("data.dev", folder, Split::Dev))?,
    };
    let test = config.test.as_ref().map(|folder| open("data.test", folder, Split::Test)).transpose()?;
    if let Some(path) = &config.unlabelled {
        is_file("data.unlabelled", path)?;
    }
    let unlabelled = config.unlabelled.clone().map(|path| Source { path, ..train.corpus.clone() });
    let negatives = config.negatives.unwrap_or(0);
    if negatives > MOST_NEGATIVES {
        bail!(ConfigError::expected("data.negatives", negatives, format!("0 to {MOST_NEGATIVES}")));
    }
    let plan = RetrievePlan { train, dev, test, unlabelled, negatives };
    Ok((TaskPlan::Retrieve(plan), news_fields(config).len()))
}
