//! The tokenizer of a model folder, checked against the model.

use std::path::Path;

use anyhow::{Result, bail};
use nb_data::Tokenizer;
use nb_data::tokenizer::Words;
use nb_model::BertConfig;

use crate::config::{data_truncation, data_windows};
use crate::plan::Plan;

/// Loads the tokenizer of `folder`, for a model of the given shape, with the plan's settings; see [`load`].
///
/// # Errors
/// As [`load`].
pub(crate) fn load_for(plan: &Plan, folder: &Path, config: &BertConfig) -> Result<Tokenizer> {
    Ok(load(folder, config, plan.data.words)?
        .with_truncation(data_truncation(plan.data.truncation))
        .with_windows(plan.data.windows.map(data_windows)))
}

/// Loads the tokenizer of `folder` for a model of the given shape and texts whose words come from `words`, and logs its
/// warnings.
///
/// # Errors
/// If it cannot be read, or has more tokens than the model's embedding has rows.
pub(crate) fn load(folder: &Path, config: &BertConfig, words: Words) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::with_words(folder, words)?.for_segments(config.type_vocab_size.unsigned_abs() as usize);
    let rows = config.vocab_size;
    if tokenizer.vocab_size() as i64 > rows {
        bail!(
            "{}: the tokenizer has ids up to {}, but the model's embedding has {rows} rows",
            folder.display(),
            tokenizer.vocab_size() - 1
        );
    }
    tokenizer.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(tokenizer)
}
