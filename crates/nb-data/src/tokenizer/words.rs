//! The way in which texts are split into words, and the white space between words.

use serde_json::Value;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, Result, SplitDelimiterBehavior};

/// The source of the words of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Words {
    /// The rules of the tokenizer's class.
    #[default]
    AsClass,
    /// White space: the texts were split into words before, by a program such as MeCab, and are encoded word by word, as
    /// with `is_split_into_words=True` in `transformers`.
    Pretokenized,
}

/// Returns true for white space as Python's `str.split` sees it, which includes four separators of ASCII that
/// [`char::is_whitespace`] does not.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Returns the words of a text that was split before.
pub(super) fn split(text: &str) -> Vec<&str> {
    text.split(is_space).filter(|word| !word.is_empty()).collect()
}

/// Returns a regular expression for the white space between two words. It lists characters instead of `\s`, so that every
/// engine reads the same set.
pub(super) fn pattern() -> String {
    let spaces: String = ('\0'..='\u{3000}').filter(|&c| is_space(c)).collect();
    format!("[{spaces}]+")
}

/// Returns the pre-tokenizer that splits as [`split`] does.
///
/// # Errors
/// Never, unless the engine of regular expressions rejects the pattern.
pub(super) fn splitter() -> Result<PreTokenizerWrapper> {
    Ok(Split::new(SplitPattern::Regex(pattern()), SplitDelimiterBehavior::Removed, false)?.into())
}

/// Returns true if a `tokenizer.json` itself splits texts with [`pattern`].
pub(super) fn are_split_by(json: &Value) -> bool {
    let pattern = pattern();
    let is_pattern = |part: &Value| part["pattern"]["Regex"] == pattern.as_str();
    let normalizers = json["normalizer"]["normalizers"].as_array();
    is_pattern(&json["pre_tokenizer"]) || normalizers.into_iter().flatten().any(is_pattern)
}
