//! The plan of topic classification: its files and settings.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use nb_data::read::{CsvLayout, Format, LabelRule, Source};

use crate::config::{ClassWeights, ConfigError, DataConfig, DataFormat, RunConfig, UnknownLabels};
use crate::method::TermKind;
use crate::plan::files::{csv_format, dev, fields, refuse, require_file};
use crate::plan::{SplitFiles, Splits, TaskKind, TaskPlan};

/// The plan of topic classification.
#[derive(Debug, Clone)]
pub struct TopicPlan {
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
        self.splits.files(|source| vec![source.path.clone()])
    }

    fn complete(&self, config: &mut DataConfig) {
        config.unknown_labels = Some(self.unknown_labels);
        config.class_weights = Some(self.class_weights.clone());
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
        let format = format(config)?;
        let source = |key, path: &Path| {
            require_file(key, path)?;
            Ok(Source { allowed_unusable: config.allow_unusable, ..Source::labelled(path, format.clone()) })
        };
        let splits = Splits {
            train: source("data.train", &config.train)?,
            dev: dev(config, |path| source("data.dev", path))?,
            test: config.test.as_ref().map(|path| source("data.test", path)).transpose()?,
            unlabelled: config
                .unlabelled
                .as_ref()
                .map(|path| source("data.unlabelled", path))
                .transpose()?
                .map(without_label),
        };
        Ok(Self {
            splits,
            unknown_labels: config.unknown_labels.unwrap_or_default(),
            class_weights: config.class_weights.clone().unwrap_or_default(),
        })
    }
}

fn format(config: &DataConfig) -> Result<Format> {
    match config.format {
        DataFormat::Mind => {
            refuse(
                &[
                    ("columns", config.columns.is_some()),
                    ("header", config.header.is_some()),
                    ("quoting", config.quoting.is_some()),
                ],
                "MIND's news.tsv has fixed columns, no header and no quoting",
            )?;
            Ok(Format::MindNews { fields: fields(config) })
        }
        DataFormat::Csv | DataFormat::Tsv => {
            refuse(
                &[("fields", config.fields.is_some())],
                "it applies only to MIND; use data.columns for csv and tsv",
            )?;
            let Some(columns) = &config.columns else {
                bail!(ConfigError::expected("data.columns", "missing", "for example {label: 0, text: [1, 2]}"))
            };
            let Some(label) = &columns.label else {
                bail!(ConfigError::expected("data.columns.label", "missing", "the column of the label, for example 0"))
            };
            Ok(csv_format(config, columns, Some(label.into()))?)
        }
        DataFormat::Beir => {
            let why = "task: topic reads only mind, csv or tsv";
            bail!(ConfigError::conflict("data.format", "beir", why).and("task"))
        }
    }
}

/// Returns the source without its label column: a label is neither needed nor read.
fn without_label(source: Source) -> Source {
    let format = match source.format {
        Format::Csv(layout) => Format::Csv(CsvLayout { label: None, ..layout }),
        other => other,
    };
    Source { format, labels: LabelRule::Optional, ..source }
}
