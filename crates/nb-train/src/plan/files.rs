//! Checks of files and keys, shared by the tasks.

use std::path::Path;

use anyhow::{Result, bail};
use nb_checkpoint::ArticleField;
use nb_data::MissingFile;
use nb_data::read::{Column, CsvLayout, Delimiter, Field, Format, Header};

use crate::config::{ColumnsConfig, ConfigError, DataConfig, DataFormat, data_field};

/// Largest number of negative articles per row: more than any batch has room for.
pub(crate) const MAX_NEGATIVES: usize = 1000;
/// Share of the training rows that is held out by default.
const DEV_FRACTION: f64 = 0.1;

/// Source of the development rows.
#[derive(Debug, Clone)]
pub enum Dev<T> {
    /// Separate files.
    Given(T),
    /// A share of the training rows.
    Fraction(f64),
}

impl<T> Dev<T> {
    pub(crate) fn fraction(&self) -> Option<f64> {
        match self {
            Self::Given(_) => None,
            Self::Fraction(fraction) => Some(*fraction),
        }
    }
}

/// Returns the source of the development rows: separate files, which `open` checks, or a share of the training rows.
pub(crate) fn dev<T>(config: &DataConfig, open: impl FnOnce(&Path) -> Result<T>) -> Result<Dev<T>> {
    match (&config.dev, config.dev_fraction) {
        (Some(path), None) => Ok(Dev::Given(open(path)?)),
        (None, fraction) => {
            let fraction = fraction.unwrap_or(DEV_FRACTION);
            if !(fraction > 0.0 && fraction < 1.0) {
                bail!(ConfigError::expected("data.dev_fraction", fraction, "a share between 0 and 1"));
            }
            Ok(Dev::Fraction(fraction))
        }
        (Some(path), Some(_)) => {
            let why = "data.dev_fraction is given too; remove one of them";
            bail!(ConfigError::conflict("data.dev", path.display(), why).and("data.dev_fraction"))
        }
    }
}

/// Refuses the first key that is given although the task or its format does not use it.
pub(crate) fn refuse(given: &[(&str, bool)], why: &str) -> Result<(), ConfigError> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((key, _)) => Err(ConfigError::conflict(format!("data.{key}"), "given", why)),
        None => Ok(()),
    }
}

pub(crate) fn require_file(key: &str, path: &Path) -> Result<(), ConfigError> {
    match path.is_file() {
        true => Ok(()),
        false => Err(ConfigError::conflict(key, path.display(), "there is no such file")),
    }
}

/// Returns the error that the data set of a key lacks a file.
pub(crate) fn not_found(key: &str, path: &Path, missing: &MissingFile) -> ConfigError {
    ConfigError::conflict(key, path.display(), missing.to_string())
}

/// Returns the layout of csv and tsv files with one or two columns of text. `label` is the column of the label, if it is read.
pub(crate) fn csv_format(
    config: &DataConfig,
    columns: &ColumnsConfig,
    label: Option<Column>,
) -> Result<Format, ConfigError> {
    if !(1..=2).contains(&columns.text.len()) {
        let found = format!("a list of {} columns", columns.text.len());
        return Err(ConfigError::expected("data.columns.text", found, "one or two columns"));
    }
    Ok(Format::Csv(CsvLayout {
        label: label.map(Into::into),
        text: columns.text.iter().map(Into::into).collect(),
        header: if config.header.unwrap_or(false) { Header::Present } else { Header::Absent },
        delimiter: if config.format == DataFormat::Csv { Delimiter::COMMA } else { Delimiter::TAB },
        quoting: config.quoting.unwrap_or_default().into(),
    }))
}

/// Returns the parts of an article that are read.
pub(crate) fn article_fields(config: &DataConfig) -> Vec<ArticleField> {
    config.fields.clone().unwrap_or_else(|| vec![ArticleField::Title, ArticleField::Abstract])
}

/// Returns the parts of an article that are read, as the file readers take them.
pub(crate) fn fields(config: &DataConfig) -> Vec<Field> {
    article_fields(config).into_iter().map(data_field).collect()
}
