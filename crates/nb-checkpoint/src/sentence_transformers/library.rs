//! The settings of a whole sentence-transformers model, as far as they change its vectors.

use std::path::Path;

use serde_json::{Map, Value};

use super::json::{read_json, wrong_value};
use crate::error::CheckpointError;
use crate::files::LIBRARY_FILE;

/// Refuses settings by which the library's `encode` computes other vectors than those of the modules.
///
/// # Errors
/// If a prompt precedes every text, or if vectors are truncated.
pub(super) fn check_library(folder: &Path) -> Result<(), CheckpointError> {
    let path = folder.join(LIBRARY_FILE);
    let settings = read_json::<Map<String, Value>>(&path)?.unwrap_or_default();
    if let Some(found) = settings.get("truncate_dim").filter(|found| !found.is_null()) {
        return Err(wrong_value(&path, "truncate_dim", found, "null: vectors are used at their full width"));
    }
    let name = match settings.get("default_prompt_name") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong_value(&path, "default_prompt_name", other, "the name of a prompt, or null")),
    };
    // A name without a prompt changes no text.
    match settings.get("prompts").and_then(|prompts| prompts.get(name)) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(prompt)) if prompt.is_empty() => Ok(()),
        Some(prompt) => {
            let expected =
                "null: a prompt before every text is not supported; write it into the texts and set the key to null";
            Err(wrong_value(&path, "default_prompt_name", format!("\"{name}\", the prompt {prompt}"), expected))
        }
    }
}
