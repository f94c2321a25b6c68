//! The plan of embedding: files of texts, and folders to measure ranking on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use nb_data::behaviors::{BehaviorSource, ClickFiles, ClickRule};
use nb_data::beir::{Folder, QueryLog, Split};
use nb_data::read::{Format, LabelRule, Source};

use crate::config::{ConfigError, DataConfig, DataFormat, RunConfig};
use crate::method::{Method, TeacherRole, TermKind};
use crate::plan::files::{all_files, dev, fields, not_found, refuse, require_format};
use crate::plan::texts::{DatasetSplit, Labelling, TextFiles};
use crate::plan::{Dev, SplitFiles, TaskKind, TaskPlan, TrainPlan};
use crate::task::recommend::{ClickLog, articles_of, log_files};

/// The formats of texts.
const FORMATS: [DataFormat; 6] =
    [DataFormat::Csv, DataFormat::Tsv, DataFormat::Jsonl, DataFormat::Parquet, DataFormat::Mind, DataFormat::Beir];

/// Number of a reader's most recent clicks in the folders of `data.eval`.
const HISTORY: usize = 50;

/// The plan of embedding.
#[derive(Debug, Clone)]
pub struct EmbedPlan {
    /// The training texts.
    pub train: Vec<Source>,
    /// The development texts.
    pub dev: Dev<Vec<Source>>,
    /// Held-out texts.
    pub test: Option<Vec<Source>>,
    /// Further training texts.
    pub unlabelled: Option<Source>,
    /// Folders to measure ranking on.
    pub rankings: Vec<RankingFolder>,
}

/// A folder with judged queries or impressions.
#[derive(Debug, Clone)]
pub struct RankingFolder {
    /// Its name in reports.
    pub name: String,
    /// Its files.
    pub files: RankingFiles,
}

/// The files of a [`RankingFolder`].
#[derive(Debug, Clone)]
pub enum RankingFiles {
    /// A BEIR folder: articles, queries, judgements.
    Queries(Box<QueryLog>),
    /// A MIND folder: articles and impressions.
    Clicks(Box<ClickLog>),
}

/// Embedding as configurations name it.
#[derive(Debug)]
pub struct EmbedKind;

impl TaskKind for EmbedKind {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn ranks(&self) -> bool {
        true
    }

    fn trains_teacher(&self) -> bool {
        false
    }

    fn uses_unlabelled(&self, term: TermKind) -> bool {
        term.compares_texts()
    }

    fn plan(&self, config: &RunConfig) -> Result<Arc<dyn TaskPlan>> {
        Ok(Arc::new(EmbedPlan::new(&config.data)?))
    }
}

impl TaskPlan for EmbedPlan {
    fn name(&self) -> &'static str {
        EmbedKind.name()
    }

    fn articles(&self) -> &Source {
        &self.train[0]
    }

    fn dev_fraction(&self) -> Option<f64> {
        self.dev.fraction()
    }

    fn split_files(&self) -> Vec<SplitFiles> {
        let paths = |sources: &'_ [Source]| -> Vec<PathBuf> { sources.iter().flat_map(all_files).collect() };
        let mut all = vec![("train", paths(&self.train))];
        if let Dev::Given(sources) = &self.dev {
            all.push(("dev", paths(sources)));
        }
        all.extend(self.test.iter().map(|sources| ("test", paths(sources))));
        all.extend(self.unlabelled.iter().map(|source| ("unlabelled", all_files(source))));
        let ranked: Vec<PathBuf> = self.rankings.iter().flat_map(RankingFolder::paths).collect();
        if !ranked.is_empty() {
            all.push(("eval", ranked));
        }
        all.into_iter().map(|(split, paths)| SplitFiles { split, paths }).collect()
    }

    fn complete(&self, _: &mut DataConfig) {}

    /// Checks that no term needs a label or a row of logits: this task has neither.
    fn check_method(&self, method: &Method, _: &TrainPlan) -> Result<(), ConfigError> {
        if method.teacher != TeacherRole::Frozen {
            let found = match method.teacher {
                TeacherRole::Absent => "none",
                _ => "joint",
            };
            let why = "with task: embed there is nothing but the teacher to learn from; set it to frozen";
            return Err(ConfigError::conflict("method.teacher", found, why).and("task"));
        }
        match method.terms().find(|term| term.kind.needs_label() || term.kind.compares_logits()) {
            Some(term) => {
                let why = "with task: embed there are no labels and no candidates; use vector and similarity_kl";
                let key = format!("method.weights.{}", term.kind.name());
                Err(ConfigError::conflict(key, "above 0", why).and("task"))
            }
            None => Ok(()),
        }
    }
}

impl RankingFolder {
    fn paths(&self) -> Vec<PathBuf> {
        match &self.files {
            RankingFiles::Queries(log) => vec![log.corpus.path.clone(), log.queries.path.clone(), log.qrels.clone()],
            RankingFiles::Clicks(log) => log_files(log),
        }
    }

    /// Finds the files of a folder of `data.eval`: a BEIR folder, of which the test queries are read, else the development
    /// queries; or a MIND folder, or a file of impressions beside its `news.tsv`.
    fn find(config: &DataConfig, i: usize, path: &Path) -> Result<Self> {
        let key = format!("data.eval[{i}]");
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let fields = fields(config);
        let folder = Folder::new(path);
        if folder.corpus().is_file() {
            let split = if folder.qrels(Split::Test).is_file() { Split::Test } else { Split::Dev };
            let log = QueryLog::find(path, split, &fields, config.allow_unusable);
            let log = log.map_err(|missing| not_found(&key, path, &missing))?;
            return Ok(Self { name, files: RankingFiles::Queries(Box::new(log)) });
        }
        let files = ClickFiles::find(path).map_err(|missing| not_found(&key, path, &missing))?;
        let allowed_unusable = config.allow_unusable;
        let news = articles_of(config, &key, &files)?;
        let ClickFiles { behaviors: path, form, .. } = files;
        let behaviors = BehaviorSource { path, history: HISTORY, clicks: ClickRule::Required, allowed_unusable };
        Ok(Self { name, files: RankingFiles::Clicks(Box::new(ClickLog { news, behaviors, form })) })
    }
}

impl EmbedPlan {
    fn new(config: &DataConfig) -> Result<Self> {
        refuse(
            &[
                ("articles", config.articles.is_some()),
                ("history", config.history.is_some()),
                ("clicked_before", config.clicked_before.is_some()),
                ("negatives", config.negatives.is_some()),
                ("unknown_labels", config.unknown_labels.is_some()),
                ("class_weights", config.class_weights.is_some()),
            ],
            "task: embed reads only texts",
        )?;
        let layouts = Layouts::new(config)?;
        let rankings = config.eval.iter().flatten().enumerate();
        let (test, unlabelled) = (config.test.as_ref(), config.unlabelled.as_ref());
        Ok(Self {
            train: layouts.sources("data.train", &config.train, DatasetSplit::Train)?,
            dev: dev(config, |path| layouts.sources("data.dev", path, DatasetSplit::Validation))?,
            test: test.map(|path| layouts.sources("data.test", path, DatasetSplit::Test)).transpose()?,
            unlabelled: unlabelled
                .map(|path| layouts.texts.source("data.unlabelled", path, DatasetSplit::Train))
                .transpose()?,
            rankings: rankings.map(|(i, path)| RankingFolder::find(config, i, path)).collect::<Result<_, _>>()?,
        })
    }
}

/// The layout of the files that contain texts.
struct Layouts<'a> {
    /// Of a file of texts.
    texts: TextFiles<'a>,
    /// Of the queries of a BEIR folder.
    queries: Option<Format>,
    allowed_unusable: f64,
}

impl<'a> Layouts<'a> {
    fn new(config: &'a DataConfig) -> Result<Self> {
        require_format(config, "embed", &FORMATS)?;
        Ok(Self {
            texts: TextFiles::new(config, Labelling::Ignored)?,
            queries: (config.format == DataFormat::Beir).then_some(Format::BeirQueries),
            allowed_unusable: config.allow_unusable,
        })
    }

    /// Returns the files that a path stands for: a file of texts; or a BEIR folder, whose articles and queries are texts.
    fn sources(&self, key: &'static str, path: &Path, split: DatasetSplit) -> Result<Vec<Source>> {
        let Some(queries) = self.queries.as_ref().filter(|_| path.is_dir()) else {
            return Ok(vec![self.texts.source(key, path, split)?]);
        };
        let folder = Folder::new(path);
        let mut sources = vec![self.texts.source(key, &folder.corpus(), split)?];
        if folder.queries().is_file() {
            let allowed_unusable = self.allowed_unusable;
            let source = Source::labelled(folder.queries(), queries.clone());
            sources.push(Source { labels: LabelRule::Optional, allowed_unusable, ..source });
        }
        Ok(sources)
    }
}
