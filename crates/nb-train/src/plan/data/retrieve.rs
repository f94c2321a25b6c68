//! The files of retrieval: BEIR folders.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_data::beir::{Folder, Split};
use nb_data::read::{Field, Format, LabelRule, Source};

use super::files::{Dev, MAX_NEGATIVES, dev, fields, refuse, require_file};
use crate::config::{ConfigError, DataConfig, DataFormat};

/// The files of retrieval.
#[derive(Debug, Clone)]
pub struct RetrievePlan {
    /// Training queries.
    pub train: QueryLog,
    /// Development queries.
    pub dev: Dev<QueryLog>,
    /// Held-out queries.
    pub test: Option<QueryLog>,
    /// Articles without queries.
    pub unlabelled: Option<Source>,
    /// Judged negatives beside each relevant article.
    pub negatives: usize,
}

/// Articles, queries, and the judgements which article answers which query.
#[derive(Debug, Clone)]
pub struct QueryLog {
    /// The articles.
    pub corpus: Source,
    /// The queries.
    pub queries: Source,
    /// The judgements.
    pub qrels: PathBuf,
    /// Largest share of unusable rows that is not an error.
    pub allowed_unusable: f64,
}

impl QueryLog {
    /// Finds the files of one split of a BEIR folder. `key` is the key or the option that has the folder as its value.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn open(key: &str, folder: &Path, split: Split, fields: &[Field], allowed: f64) -> Result<Self, ConfigError> {
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
            return Err(ConfigError::conflict(key, folder.display(), why));
        }
        Ok(log)
    }
}

impl RetrievePlan {
    pub(super) fn new(config: &DataConfig, unlabelled: Option<&Path>) -> Result<Self> {
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
        let fields = fields(config);
        let open = |key, folder: &Path, split| QueryLog::open(key, folder, split, &fields, config.allow_unusable);
        let train = open("data.train", &config.train, Split::Train)?;
        // A folder may have its own development queries.
        let has_dev = config.dev_fraction.is_none() && Folder::new(&config.train).qrels(Split::Dev).is_file();
        let dev = match &config.dev {
            None if has_dev => Dev::Given(open("data.train", &config.train, Split::Dev)?),
            _ => dev(config, |folder| Ok(open("data.dev", folder, Split::Dev)?))?,
        };
        let test = config.test.as_ref().map(|folder| open("data.test", folder, Split::Test)).transpose()?;
        if let Some(path) = unlabelled {
            require_file("data.unlabelled", path)?;
        }
        let unlabelled = unlabelled.map(|path| Source { path: path.to_owned(), ..train.corpus.clone() });
        let negatives = config.negatives.unwrap_or(0);
        if negatives > MAX_NEGATIVES {
            bail!(ConfigError::expected("data.negatives", negatives, format!("0 to {MAX_NEGATIVES}")));
        }
        Ok(Self { train, dev, test, unlabelled, negatives })
    }
}
