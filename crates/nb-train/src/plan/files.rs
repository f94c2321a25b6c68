//! Checks of files and keys, shared by the tasks.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_checkpoint::ArticleField;
use nb_data::MissingFile;
use nb_data::read::{Field, Source};

use crate::config::{ConfigError, DataConfig, DataFormat, data_field};

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

/// A key that some formats use.
struct FormatKey {
    name: &'static str,
    is_given: bool,
    formats: &'static [DataFormat],
}

/// Refuses the first key that is given although the format of the data does not use it.
pub(crate) fn refuse_by_format(config: &DataConfig) -> Result<(), ConfigError> {
    use DataFormat::{Beir, Csv, Ebnerd, Jsonl, Mind, Parquet, Tsv};
    let key = |name, is_given, formats| FormatKey { name, is_given, formats };
    let keys = [
        key("columns", config.columns.is_some(), &[Csv, Tsv, Jsonl, Parquet][..]),
        key("header", config.header.is_some(), &[Csv, Tsv]),
        key("quoting", config.quoting.is_some(), &[Csv, Tsv]),
        key("delimiter", config.delimiter.is_some(), &[Csv, Tsv]),
        key("encoding", config.encoding.is_some(), &[Csv, Tsv, Jsonl, Mind]),
        key("fields", config.fields.is_some(), &[Mind, Beir, Ebnerd]),
        key("translations", config.translations.is_some(), &[Mind]),
    ];
    match keys.into_iter().find(|key| key.is_given && !key.formats.contains(&config.format)) {
        None => Ok(()),
        Some(FormatKey { name, formats, .. }) => {
            let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
            let why = format!("it applies only to {}, and data.format is {}", names.join(", "), config.format.name());
            Err(ConfigError::conflict(format!("data.{name}"), "given", why).and("data.format"))
        }
    }
}

/// Refuses a format that a task does not read.
pub(crate) fn require_format(config: &DataConfig, task: &str, formats: &[DataFormat]) -> Result<(), ConfigError> {
    if formats.contains(&config.format) {
        return refuse_by_format(config);
    }
    let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
    let names = match names.split_last() {
        Some((last, [_, ..])) => format!("{} or {last}", names[..names.len() - 1].join(", ")),
        _ => names.join(", "),
    };
    let why = format!("task: {task} reads only {names}");
    Err(ConfigError::conflict("data.format", config.format.name(), why).and("task"))
}

/// Returns the files of a source, translations included.
pub(crate) fn all_files(source: &Source) -> Vec<PathBuf> {
    source.files().iter().chain(&source.translations).cloned().collect()
}

/// Returns the parts of an article that are read.
pub(crate) fn article_fields(config: &DataConfig) -> Vec<ArticleField> {
    config.fields.clone().unwrap_or_else(|| vec![ArticleField::Title, ArticleField::Abstract])
}

/// Returns the parts of an article that are read, as the file readers take them.
pub(crate) fn fields(config: &DataConfig) -> Vec<Field> {
    article_fields(config).into_iter().map(data_field).collect()
}
