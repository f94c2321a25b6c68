//! The files by which sentence-transformers loads a model folder and computes the same vectors.

use std::path::Path;

use anyhow::{Context, Result};
use nb_checkpoint::{HeadDescription, MODULES_FILE, POOLING_FILE, PoolingKind, ScoreKind};
use serde_json::{Value, json};

use crate::atomic_file::write_file;

/// Writes `modules.json`, `1_Pooling/config.json` and `sentence_bert_config.json`. The class names and the flags are those of
/// version 3, which later versions read too.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(folder: &Path, head: &HeadDescription, max_tokens: usize) -> Result<()> {
    let module = |idx: usize, path: &str, class: &str| json!({"idx": idx, "name": idx.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}")});
    let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    if head.score == ScoreKind::Cosine {
        modules.push(module(2, "2_Normalize", "Normalize"));
    }
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join(nb_checkpoint::CONFIG_FILE))?)?;
    let pooling = json!({
        "word_embedding_dimension": config["hidden_size"],
        "pooling_mode_cls_token": head.pooling == PoolingKind::Cls,
        "pooling_mode_mean_tokens": head.pooling == PoolingKind::Mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
    });
    let pooling_path = folder.join(POOLING_FILE);
    if let Some(parent) = pooling_path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let limit = json!({"max_seq_length": max_tokens, "do_lower_case": false});
    write_json(&pooling_path, &pooling)?;
    write_json(&folder.join("sentence_bert_config.json"), &limit)?;
    write_json(&folder.join(MODULES_FILE), &modules.into())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_file(path, format!("{value:#}\n").as_bytes())
}
