//! The checked form of the configuration's `data`: the files of a task.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use nb_checkpoint::{ArticleField, Truncation, Windows};
use nb_data::batch::MIN_TOKENS;
use nb_data::tokenizer::{MIN_WINDOW, Words};

use super::files;
use super::task::{TaskKind, TaskPlan};
use crate::config::{ConfigError, DataConfig, DataFormat, RunConfig};

/// The files of a task and the settings for reading them, checked.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// The task and its files.
    pub task: Arc<dyn TaskPlan>,
    /// Longest sequence in tokens; with windows, the longest article before it is cut.
    pub max_tokens: usize,
    /// The windows into which longer articles are cut.
    pub windows: Option<Windows>,
    /// The part that remains of a text with too many tokens.
    pub truncation: Truncation,
    /// The source of the words of texts.
    pub words: Words,
    /// Number of columns or fields of a row that are read as its texts: the first text, and the parts of the second.
    pub columns: usize,
    /// Parts of an article that are read; empty if the format has its own columns.
    pub fields: Vec<ArticleField>,
    /// Folder of the token stores.
    pub cache: PathBuf,
}

impl DataPlan {
    /// Checks the configuration's `data` and `reader`.
    ///
    /// # Errors
    /// If a value cannot be used, or a file is missing.
    pub(super) fn new(config: &RunConfig, kind: &dyn TaskKind) -> Result<Self> {
        let (data, reader) = (&config.data, &config.reader);
        if data.max_tokens < MIN_TOKENS {
            let expected = format!("at least {MIN_TOKENS}: [CLS], a token and [SEP]");
            bail!(ConfigError::expected("data.max_tokens", data.max_tokens, expected));
        }
        if let Some(windows) = data.windows {
            check_windows(windows, data.max_tokens)?;
        }
        if !(0.0..=1.0).contains(&data.allow_unusable) {
            bail!(ConfigError::expected("data.allow_unusable", data.allow_unusable, "a share from 0 to 1"));
        }
        if let Some(heads) = reader.self_attention.filter(|_| !kind.has_readers()) {
            let why = format!("task: {} has no readers", kind.name());
            bail!(ConfigError::conflict("reader.self_attention", heads, why).and("task"));
        }
        if reader.pooling.is_some() && !kind.has_readers() {
            let why = format!("task: {} has no readers", kind.name());
            bail!(ConfigError::conflict("reader.pooling", "given", why).and("task"));
        }
        let task = kind.plan(config)?;
        Ok(Self {
            max_tokens: data.max_tokens,
            windows: data.windows,
            truncation: data.truncate.unwrap_or_default(),
            words: if data.pretokenized.unwrap_or(false) { Words::Pretokenized } else { Words::AsClass },
            columns: task.articles().format.text_columns(),
            fields: if data.format.has_fields() { files::article_fields(data) } else { Vec::new() },
            cache: data.cache.clone().unwrap_or_else(|| nb_files::cache_folder().join("tokens")),
            task,
        })
    }

    /// Returns the length of the longest sequence in tokens, which must fit the models.
    pub fn longest_sequence(&self) -> usize {
        self.windows.map_or(self.max_tokens, |windows| windows.size)
    }

    /// Returns the configuration with every default filled in.
    pub(super) fn to_config(&self, given: &DataConfig) -> DataConfig {
        let mut config = DataConfig {
            dev_fraction: given.dev_fraction.or(self.task.dev_fraction()),
            cache: Some(self.cache.clone()),
            truncate: Some(self.truncation),
            ..given.clone()
        };
        self.task.complete(&mut config);
        if given.format.has_fields() {
            config.fields = Some(self.fields.clone());
        }
        if let DataFormat::Csv | DataFormat::Tsv = given.format {
            config.header = Some(given.header.unwrap_or(false));
            config.quoting = Some(given.quoting.unwrap_or_default());
        }
        config
    }
}

/// Checks the windows of long articles.
fn check_windows(windows: Windows, max_tokens: usize) -> Result<(), ConfigError> {
    let Windows { size, stride } = windows;
    if size < MIN_WINDOW {
        return Err(ConfigError::expected("data.windows.size", size, format!("at least {MIN_WINDOW}")));
    }
    if size >= max_tokens {
        let why = format!("data.max_tokens is {max_tokens}, so no article has more tokens than a window");
        return Err(ConfigError::conflict("data.windows.size", size, why).and("data.max_tokens"));
    }
    if !(1..=size - 2).contains(&stride) {
        let expected = format!("1 to {}, the tokens of a window without [CLS] and [SEP]", size - 2);
        return Err(ConfigError::expected("data.windows.stride", stride, expected));
    }
    Ok(())
}
