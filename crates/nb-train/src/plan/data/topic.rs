//! The files of topic classification.

use std::path::Path;

use anyhow::{Result, bail};
use nb_data::read::{CsvLayout, Format, Header, LabelRule, Source};

use super::{Dev, TaskPlan, dev, fields, is_file, refuse};
use crate::config::{ConfigError, DataConfig, DataFormat, UnknownLabels};

/// The files of topic classification.
#[derive(Debug, Clone)]
pub struct TopicPlan {
    /// Training texts.
    pub train: Source,
    /// Development texts.
    pub dev: Dev<Source>,
    /// Texts that nothing is chosen by.
    pub test: Option<Source>,
    /// Texts without labels.
    pub unlabelled: Option<Source>,
    /// The treatment of development and test rows whose label no training row has.
    pub unknown_labels: UnknownLabels,
}

/// The plan, and how many texts a row has.
pub(super) fn plan(config: &DataConfig) -> Result<(TaskPlan, usize)> {
    refuse(
        &[
            ("history", config.history.is_some()),
            ("clicked_before", config.clicked_before.is_some()),
            ("negatives", config.negatives.is_some()),
        ],
        "it is for tasks that rank",
    )?;
    let format = format(config)?;
    let texts = match &format {
        Format::Csv(layout) => layout.text.len(),
        Format::MindNews { fields } => fields.len(),
        _ => 1,
    };
    let source = |key, path: &Path| {
        is_file(key, path)?;
        Ok(Source {
            path: path.to_owned(),
            format: format.clone(),
            labels: LabelRule::Required,
            allowed_unusable: config.allow_unusable,
        })
    };
    let train = source("data.train", &config.train)?;
    let dev = dev(config, |path| source("data.dev", path))?;
    let test = config.test.as_ref().map(|path| source("data.test", path)).transpose()?;
    let unlabelled = config.unlabelled.as_ref().map(|path| {
        let source = source("data.unlabelled", path)?;
        Ok::<_, anyhow::Error>(Source { format: without_label(source.format), labels: LabelRule::Optional, ..source })
    });
    let unknown_labels = config.unknown_labels.unwrap_or_default();
    let plan = TopicPlan { train, dev, test, unlabelled: unlabelled.transpose()?, unknown_labels };
    Ok((TaskPlan::Topic(plan), texts))
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

/// The same columns of text; whatever stands where a label would be is not looked at.
fn without_label(format: Format) -> Format {
    match format {
        Format::Csv(layout) => Format::Csv(CsvLayout { label: None, ..layout }),
        other => other,
    }
}
