//! Protection against hostile tokenizer files.

use std::panic::{self, AssertUnwindSafe};

use serde_json::Value;

/// The largest factor by which a normaliser may lengthen a text.
const MOST_GROWTH: f64 = 4096.0;

/// Runs `work` on a tokenizer and turns a panic into an error of the file. The `tokenizers` crate panics on some
/// invalid files, such as those with pieces of 0 characters or a table whose offsets point outside it.
pub(super) fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    // A panic leaves none of our state inconsistent. It poisons locks inside the tokenizer; later uses also panic here.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let message = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        Err(format!("invalid tokenizer: {}", message.unwrap_or("a panic")).into())
    })
}

/// Rejects a `tokenizer.json` whose normaliser can make a text far longer by repeated replacement: a file of a few
/// kilobytes could exhaust all memory.
pub(super) fn check_growth(json: &Value) -> tokenizers::Result<()> {
    let growth = growth(&json["normalizer"]);
    if growth > MOST_GROWTH {
        return Err(
            format!("its normalizer can make a text {growth} times as long, expected at most {MOST_GROWTH}").into()
        );
    }
    Ok(())
}

fn growth(normalizer: &Value) -> f64 {
    let length = |value: &Value| value.as_str().map_or(0, str::len) as f64;
    match normalizer["type"].as_str() {
        Some("Sequence") => normalizer["normalizers"].as_array().into_iter().flatten().map(growth).product(),
        // A regular expression may match the empty string, between any two letters.
        Some("Replace") => match length(&normalizer["pattern"]["String"]) {
            0.0 => 1.0 + length(&normalizer["content"]),
            pattern => (length(&normalizer["content"]) / pattern).max(1.0),
        },
        _ => 1.0,
    }
}
