//! The files of texts that a configuration names, in any format.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_checkpoint::LabelKind;
use nb_data::read::{
    Column, CsvLayout, Delimiter, Encoding, Format, Header, KeyLayout, KeyPath, LabelLayout, LabelRule, Source,
    dataset_files,
};

use super::files::{fields, require_file};
use super::label_columns::{LabelColumn, label_kind, label_layout};
use crate::config::{ColumnKey, ColumnsConfig, ConfigError, DataConfig, DataFormat, KeyPath as ConfigKey};

/// The labels of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labelling {
    /// They are read; every row needs one if each text has one.
    Required,
    /// They are not read.
    Ignored,
}

/// A split of a data set in a folder, as the library `datasets` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatasetSplit {
    Train,
    Validation,
    Test,
}

impl DatasetSplit {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// The layout of the files of texts.
#[derive(Debug)]
pub(crate) struct TextFiles<'a> {
    config: &'a DataConfig,
    format: Format,
    labels: LabelRule,
    encoding: Option<Encoding>,
}

impl<'a> TextFiles<'a> {
    /// Checks the keys that describe the layout.
    ///
    /// # Errors
    /// If a value cannot be used, or if a key is missing that the format needs.
    pub(crate) fn new(config: &'a DataConfig, labelling: Labelling) -> Result<Self> {
        let encoding = config.encoding.as_deref().map(str::parse::<Encoding>).transpose();
        let encoding = encoding.with_context(|| ConfigKey::from("data.encoding"))?;
        let labels = match (labelling, label_kind(config)) {
            (Labelling::Required, LabelKind::Single) => LabelRule::Required,
            (Labelling::Required, LabelKind::Multi) => LabelRule::AnyNumber,
            (Labelling::Ignored, _) => LabelRule::Optional,
        };
        Ok(Self { config, format: format(config, labelling)?, labels, encoding })
    }

    /// Returns the source that a key names: a file, or a split of a data set in a folder.
    ///
    /// # Errors
    /// If there is no such file, or no file of the split.
    pub(crate) fn source(&self, key: &str, path: &Path, split: DatasetSplit) -> Result<Source> {
        let parts = if path.is_dir() && self.config.format.is_in_datasets() {
            dataset_files(path, split.name()).with_context(|| ConfigKey::from(key))?
        } else {
            require_file(key, path)?;
            Vec::new()
        };
        let translations = self.config.translations.clone();
        translations.as_deref().map_or(Ok(()), |path| require_file("data.translations", path))?;
        Ok(Source {
            parts,
            labels: self.labels,
            encoding: self.encoding,
            translations,
            allowed_unusable: self.config.allow_unusable,
            ..Source::labelled(path, self.format.clone())
        })
    }
}

/// Returns the format of the files.
fn format(config: &DataConfig, labelling: Labelling) -> Result<Format> {
    if let DataFormat::Mind = config.format {
        return Ok(Format::MindNews { fields: fields(config) });
    }
    if let DataFormat::Beir = config.format {
        return Ok(Format::BeirCorpus { fields: fields(config) });
    }
    let columns = columns(config, labelling)?;
    let label = label_layout(columns)?.filter(|_| labelling == Labelling::Required);
    match config.format {
        DataFormat::Jsonl => Ok(Format::JsonLines(keys(columns, label)?)),
        DataFormat::Parquet => Ok(Format::Parquet(keys(columns, label)?)),
        _ => {
            let column = |LabelColumn { column, .. }: &LabelColumn| Ok::<_, anyhow::Error>(Column::from(column));
            Ok(Format::Csv(csv(config, columns, label.map(|label| label.try_map(column)).transpose()?)?))
        }
    }
}

/// Returns the columns of a format in which the configuration names them.
fn columns(config: &DataConfig, labelling: Labelling) -> Result<&ColumnsConfig, ConfigError> {
    let (example, label) = match (config.format.has_keys(), labelling) {
        (false, Labelling::Required) => ("{label: 0, text: [1, 2]}", "0"),
        (false, Labelling::Ignored) => ("{text: [1, 2]}", "0"),
        (true, Labelling::Required) => ("{label: category, text: [title, abstract]}", "category"),
        (true, Labelling::Ignored) => ("{text: [title, abstract]}", "category"),
    };
    let Some(columns) = &config.columns else {
        return Err(ConfigError::expected("data.columns", "missing", format!("for example {example}")));
    };
    if labelling == Labelling::Required && label_layout(columns)?.is_none() {
        let expected = format!("the column of the label, for example {label}");
        return Err(ConfigError::expected("data.columns.label", "missing", expected));
    }
    if columns.text.is_empty() {
        return Err(ConfigError::expected("data.columns.text", "an empty list", "one or more columns"));
    }
    Ok(columns)
}

fn csv(config: &DataConfig, columns: &ColumnsConfig, label: Option<LabelLayout<Column>>) -> Result<CsvLayout> {
    let delimiter = match (&config.delimiter, config.format) {
        (Some(text), _) => text.parse::<Delimiter>().with_context(|| ConfigKey::from("data.delimiter"))?,
        (None, DataFormat::Tsv) => Delimiter::TAB,
        (None, _) => Delimiter::COMMA,
    };
    Ok(CsvLayout {
        label,
        text: columns.text.iter().map(Into::into).collect(),
        header: if config.header.unwrap_or(false) { Header::Present } else { Header::Absent },
        delimiter,
        quoting: config.quoting.unwrap_or_default().into(),
    })
}

fn keys(columns: &ColumnsConfig, label: Option<LabelLayout<LabelColumn>>) -> Result<KeyLayout> {
    let key = |place: &str, key: &ColumnKey| -> Result<KeyPath> {
        match key {
            ColumnKey::Name(name) => name.parse::<KeyPath>().with_context(|| ConfigKey::from(place)),
            ColumnKey::Number(number) => {
                bail!(ConfigError::expected(place, number, "a name: these files have no numbered columns"))
            }
        }
    };
    let text = columns.text.iter().enumerate().map(|(i, name)| key(&format!("data.columns.text[{i}]"), name));
    Ok(KeyLayout {
        label: label.map(|label| label.try_map(|label| key(&label.key, &label.column))).transpose()?,
        text: text.collect::<Result<_>>()?,
        id: None,
    })
}
