//! The files of topic classification.

use std::path::Path;

use anyhow::{Result, bail};
use nb_data::read::{CsvLayout, Format, Header, LabelRule, Source};

use super::files::{Dev, dev, fields, refuse, require_file};
use crate::config::{ConfigError, DataConfig, DataFormat, UnknownLabels};

/// The files of topic classification.
#[derive(Debug, Clone)]
pub struct TopicPlan {
    /// Training texts.
    pub train: Source,
    /// Development texts.
    pub dev: Dev<Source>,
    /// Held-out texts.
    pub test: Option<Source>,
    /// Texts without labels.
    pub unlabelled: Option<Source>,
    /// Treatment of development and test rows whose label no training row has.
    pub unknown_labels: UnknownLabels,
}

impl TopicPlan {
    pub(super) fn new(config: &DataConfig, unlabelled: Option<&Path>) -> Result<Self> {
        refuse(
            &[
                ("history", config.history.is_some()),
                ("clicked_before", config.clicked_before.is_some()),
                ("negatives", config.negatives.is_some()),
            ],
            "it is for tasks that rank",
        )?;
        let format = format(config)?;
        let source = |key, path: &Path| {
            require_file(key, path)?;
            Ok(Source {
                path: path.to_owned(),
                format: format.clone(),
                labels: LabelRule::Required,
                allowed_unusable: config.allow_unusable,
            })
        };
        Ok(Self {
            train: source("data.train", &config.train)?,
            dev: dev(config, |path| source("data.dev", path))?,
            test: config.test.as_ref().map(|path| source("data.test", path)).transpose()?,
            unlabelled: unlabelled.map(|path| source("data.unlabelled", path)).transpose()?.map(without_label),
            unknown_labels: config.unknown_labels.unwrap_or_default(),
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
            refuse(&[("fields", config.fields.is_some())], "it is for MIND; csv and tsv take data.columns")?;
            let Some(columns) = &config.columns else {
                bail!(ConfigError::expected("data.columns", "missing", "for example {label: 0, text: [1, 2]}"))
            };
            if !(1..=2).contains(&columns.text.len()) {
                let found = format!("a list of {} columns", columns.text.len());
                bail!(ConfigError::expected("data.columns.text", found, "one or two"));
            }
            Ok(Format::Csv(CsvLayout {
                label: Some((&columns.label).into()),
                text: columns.text.iter().map(Into::into).collect(),
                header: if config.header.unwrap_or(false) { Header::Present } else { Header::Absent },
                delimiter: if config.format == DataFormat::Csv { b',' } else { b'\t' },
                quoting: config.quoting.unwrap_or_default().into(),
            }))
        }
        DataFormat::Beir => {
            let why = "task: topic reads mind, csv or tsv";
            bail!(ConfigError::conflict("data.format", "beir", why).and("task"))
        }
    }
}

/// The same columns of text; a label is neither needed nor read.
fn without_label(source: Source) -> Source {
    let format = match source.format {
        Format::Csv(layout) => Format::Csv(CsvLayout { label: None, ..layout }),
        other => other,
    };
    Source { format, labels: LabelRule::Optional, ..source }
}
