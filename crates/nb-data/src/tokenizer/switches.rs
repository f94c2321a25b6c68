//! The switches of `tokenizer_config.json`.

use serde_json::Value;

use super::class::Class;
use super::folder::Object;
use crate::error::DataError;

/// The switches of `tokenizer_config.json`, with the class's defaults for missing ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    pub(super) lower_case: bool,
    /// The same as `lower_case` if not set.
    pub(super) strip_accents: Option<bool>,
    pub(super) chinese_characters: bool,
    /// Insert a space before the first word, for RoBERTa, XLM-R and CamemBERT.
    pub(super) prefix_space: bool,
    /// Exclude spaces from the positions of tokens in a text, for RoBERTa. It does not change tokens.
    pub(super) trim_offsets: bool,
    /// Split special tokens in a text like other words.
    pub(super) split_special: bool,
}

impl Switches {
    /// Reads the keys that apply to the class.
    ///
    /// # Errors
    /// If a value is neither true nor false.
    pub(super) fn of(class: Class, config: &Object) -> Result<Self, DataError> {
        let reads = |key: &str| match class {
            Class::Bert => ["do_lower_case", "strip_accents", "tokenize_chinese_chars"].contains(&key),
            Class::Japanese(_) => key == "do_lower_case",
            Class::Roberta => ["add_prefix_space", "trim_offsets"].contains(&key),
            Class::XlmRoberta | Class::Camembert => key == "add_prefix_space",
            Class::AsSaved => false,
        };
        let switch = |key: &str| if reads(key) { config.switch(key) } else { Ok(None) };
        let strip_accents = match config.value.get("strip_accents") {
            Some(Value::Null) => None, // null is a value, not a missing key
            _ => switch("strip_accents")?,
        };
        Ok(Self {
            lower_case: switch("do_lower_case")?.unwrap_or(!matches!(class, Class::Japanese(_))),
            strip_accents,
            chinese_characters: switch("tokenize_chinese_chars")?.unwrap_or(true),
            prefix_space: switch("add_prefix_space")?.unwrap_or(class != Class::Roberta),
            trim_offsets: switch("trim_offsets")?.unwrap_or(true),
            split_special: config.switch("split_special_tokens")?.unwrap_or(false),
        })
    }
}
