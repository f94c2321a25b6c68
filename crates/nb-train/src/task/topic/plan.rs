//! The plan of topic classification: its files and settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use nb_checkpoint::LabelKind;
use nb_data::read::Source;

use crate::config::{ClassWeights, ConfigError, DataConfig, DataFormat, RunConfig, UnknownLabels};
use crate::method::{Method, Temperature, TermKind};
use crate::plan::files::{all_files, dev, refuse, require_format};
use crate::plan::label_columns::{flag_names, label_kind};
use crate::plan::texts::{DatasetSplit, Labelling, TextFiles};
use crate::plan::{SplitFiles, Splits, TaskKind, TaskPlan, TrainPlan};

/// The formats of labelled texts.
const FORMATS: [DataFormat; 5] =
    [DataFormat::Mind, DataFormat::Csv, DataFormat::Tsv, DataFormat::Jsonl, DataFormat::Parquet];

/// The plan of topic classification.
#[derive(Debug, Clone)]
pub struct TopicPlan {
    /// The number of labels of a text.
    pub label_kind: LabelKind,
    /// The labels that have a column of their own by name, in which they may be without a row.
    pub flags: Vec<String>,
    /// The texts of each split.
    pub splits: Splits<Source>,
    /// Treatment of development and test rows whose label no training row has.
    pub unknown_labels: UnknownLabels,
    /// Weights of the classes in the hard loss.
    pub class_weights: ClassWeights,
}

/// Topic classification as configurations name it.
#[derive(Debug)]
pub struct TopicKind;

impl TaskKind for TopicKind {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn uses_unlabelled(&self, term: TermKind) -> bool {
        !term.needs_label()
    }

    fn plan(&self, config: &RunConfig) -> Result<Arc<dyn TaskPlan>> {
        Ok(Arc::new(TopicPlan::new(&config.data)?))
    }
}

impl TaskPlan for TopicPlan {
    fn name(&self) -> &'static str {
        TopicKind.name()
    }

    fn articles(&self) -> &Source {
        &self.splits.train
    }

    fn dev_fraction(&self) -> Option<f64> {
        self.splits.dev.fraction()
    }

    fn split_files(&self) -> Vec<SplitFiles> {
        self.splits.files(all_files)
    }

    fn complete(&self, config: &mut DataConfig) {
        config.unknown_labels = Some(self.unknown_labels);
        config.class_weights = Some(self.class_weights.clone());
    }

    fn check_method(&self, method: &Method, _: &TrainPlan) -> Result<(), ConfigError> {
        match method.temperature {
            Temperature::Cwsm { .. } if self.label_kind == LabelKind::Multi => {
                let why = "it is the confidence in one label, and a text has any number of labels";
                Err(ConfigError::conflict("method.temperature.rule", "cwsm", why).and("data.columns"))
            }
            _ => Ok(()),
        }
    }
}

impl TopicPlan {
    fn new(config: &DataConfig) -> Result<Self> {
        refuse(
            &[
                ("articles", config.articles.is_some()),
                ("history", config.history.is_some()),
                ("clicked_before", config.clicked_before.is_some()),
                ("negatives", config.negatives.is_some()),
            ],
            "it applies only to tasks that rank",
        )?;
        refuse(&[("eval", config.eval.is_some())], "it applies only to task: embed")?;
        require_format(config, "topic", &FORMATS)?;
        let labelled = TextFiles::new(config, Labelling::Required)?;
        let unlabelled = |path: &PathBuf| {
            TextFiles::new(config, Labelling::Ignored)?.source("data.unlabelled", path, DatasetSplit::Train)
        };
        let splits = Splits {
            train: labelled.source("data.train", &config.train, DatasetSplit::Train)?,
            dev: dev(config, |path| labelled.source("data.dev", path, DatasetSplit::Validation))?,
            test: config
                .test
                .as_ref()
                .map(|path| labelled.source("data.test", path, DatasetSplit::Test))
                .transpose()?,
            unlabelled: config.unlabelled.as_ref().map(unlabelled).transpose()?,
        };
        Ok(Self {
            label_kind: label_kind(config),
            flags: flag_names(config),
            splits,
            unknown_labels: config.unknown_labels.unwrap_or_default(),
            class_weights: config.class_weights.clone().unwrap_or_default(),
        })
    }
}
