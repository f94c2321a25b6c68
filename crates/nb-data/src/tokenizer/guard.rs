//! Limits on what a tokenizer's file may ask for: it may come from anyone.

use std::panic::{self, AssertUnwindSafe};

use serde_json::Value;

/// The largest factor by which a normaliser may lengthen a text.
const MOST_GROWTH: f64 = 4096.0;

/// Runs `work` on a tokenizer. The crate behind it panics on some files that ask for nonsense, such as pieces of 0
/// characters or a table whose offsets lead out of it: here that is an error of the file.
pub(super) fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    // Nothing of ours is left half done; locks inside of the tokenizer are poisoned, and what meets them panics in here too.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let words = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        Err(format!("invalid tokenizer: {}", words.unwrap_or("a panic")).into())
    })
}

/// Refuses a `tokenizer.json` whose normaliser can make a text far longer by replacing words again and again: in a few
/// kilobytes a file could ask for more than any memory.
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
        // An expression may match nothing at all, between any two letters.
        Some("Replace") => match length(&normalizer["pattern"]["String"]) {
            0.0 => 1.0 + length(&normalizer["content"]),
            sought => (length(&normalizer["content"]) / sought).max(1.0),
        },
        _ => 1.0,
    }
}
