//! From a folder to the parts of a model, checked.

use std::path::Path;

use nb_checkpoint::{BertConfig, CONFIG_FILE, DESCRIPTION_FILE, Description, SentenceModules, Truncation, Windows};
use nb_data::Tokenizer;
use nb_data::batch::MIN_TOKENS;
use nb_data::tokenizer::MIN_WINDOW;
use nb_kernels::gemm::Int8Linear;

use crate::error::InferError;
use crate::options::{Options, Precision};

/// Checks a number among the options.
pub(crate) fn check_option(option: &'static str, found: usize, least: usize, most: usize) -> Result<(), InferError> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(InferError::Option { option, found, least, most }) }
}

/// Checks that the widths of layers are possible in this precision.
pub(crate) fn check_widths(folder: &Path, config: &BertConfig, precision: Precision) -> Result<(), InferError> {
    let widths = [("hidden_size", config.hidden_size), ("intermediate_size", config.intermediate_size)];
    let is_too_large = |&(_, width): &(&str, i64)| width.unsigned_abs() as usize > Int8Linear::MAX_INPUTS;
    match widths.into_iter().find(is_too_large) {
        Some((key, width)) if precision == Precision::Int8 => Err(InferError::Value {
            path: folder.join(CONFIG_FILE),
            key,
            found: width.to_string(),
            expected: format!("at most {} in int8", Int8Linear::MAX_INPUTS),
        }),
        _ => Ok(()),
    }
}

/// Returns the longest sequence in tokens.
///
/// # Errors
/// If the options or the description state a length that is not possible, or if it leaves no room for a text.
pub(crate) fn longest_sequence(
    folder: &Path,
    options: &Options,
    config: &BertConfig,
    description: Option<&Description>,
    tokenizer: &Tokenizer,
) -> Result<usize, InferError> {
    let positions = config.max_tokens().unsigned_abs() as usize;
    let windows = description.and_then(|description| Some((description.windows?, description.max_tokens)));
    let most = match windows {
        None => positions,
        Some((windows, max_tokens)) => {
            check_windows(folder, windows, positions)?;
            max_tokens.max(positions) // an article may have more tokens than a window
        }
    };
    let length = match options.max_tokens {
        Some(found) => {
            check_option("max_tokens", found, MIN_TOKENS, most)?;
            found
        }
        None => trained_length(folder, description, tokenizer)?.unwrap_or(most).min(most),
    };
    tokenizer.encode("", None, length)?; // an error if the special tokens leave no room for a text
    Ok(length)
}

/// Returns the longest sequence of a model's training, or the smaller of the lengths that its tokenizer and its
/// `sentence_bert_config.json` state.
fn trained_length(
    folder: &Path,
    description: Option<&Description>,
    tokenizer: &Tokenizer,
) -> Result<Option<usize>, InferError> {
    match description {
        Some(Description { max_tokens, .. }) if *max_tokens < MIN_TOKENS => Err(InferError::Value {
            path: folder.join(DESCRIPTION_FILE),
            key: "max_tokens",
            found: max_tokens.to_string(),
            expected: format!("{MIN_TOKENS} or more"),
        }),
        Some(description) => Ok(Some(description.max_tokens)),
        None => {
            // Modules that cannot be read are no error here: the encoder can be used with another head.
            let modules = SentenceModules::read(folder).ok().flatten().and_then(|modules| modules.max_tokens);
            let lengths = [modules, tokenizer.model_max_length()].into_iter().flatten();
            Ok(lengths.filter(|&length| length >= MIN_TOKENS).min())
        }
    }
}

/// Returns the tokenizer with a description's rules for articles with too many tokens.
pub(crate) fn with_rules(tokenizer: Tokenizer, description: &Description) -> Tokenizer {
    let truncation = match description.truncate {
        Truncation::Head => nb_data::tokenizer::Truncation::Head,
        Truncation::HeadTail => nb_data::tokenizer::Truncation::HeadTail,
    };
    let windows = description.windows.map(|Windows { size, stride }| nb_data::tokenizer::Windows { size, stride });
    tokenizer.with_truncation(truncation).with_windows(windows)
}

/// Checks that the windows of a description fit an encoder with this many positions.
///
/// # Errors
/// If a window has more tokens, or windows have no stride.
fn check_windows(folder: &Path, windows: Windows, positions: usize) -> Result<(), InferError> {
    let value = |key, found: usize, expected| {
        let path = folder.join(DESCRIPTION_FILE);
        Err(InferError::Value { path, key, found: found.to_string(), expected })
    };
    match windows {
        Windows { size, .. } if !(MIN_WINDOW..=positions).contains(&size) => {
            value("windows.size", size, format!("{MIN_WINDOW} to the {positions} positions of the encoder"))
        }
        Windows { stride: 0, .. } => value("windows.stride", 0, "1 or more".to_owned()),
        _ => Ok(()),
    }
}

/// Reads the tokenizer of a folder for a model of this shape, with the description's settings.
pub(crate) fn tokenizer(
    folder: &Path,
    config: &BertConfig,
    description: Option<&Description>,
) -> Result<Tokenizer, InferError> {
    let tokenizer = Tokenizer::from_folder(folder)?.for_segments(config.type_vocab_size.unsigned_abs() as usize);
    let tokenizer = match description {
        Some(description) => with_rules(tokenizer, description),
        None => tokenizer,
    };
    let rows = config.vocab_size.unsigned_abs() as usize;
    if tokenizer.vocab_size() > rows {
        return Err(InferError::Vocabulary { path: folder.to_owned(), largest: tokenizer.vocab_size() - 1, rows });
    }
    Ok(tokenizer)
}
