//! The files of a model folder beside the encoder: head, tokenizer, description and model card.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_checkpoint::{
    BertConfig, CONFIG_FILE, DESCRIPTION_FILE, Description, HEAD_FILE, HeadDescription, LabelKind, weight_files,
    write_sentence_modules,
};
use nb_data::Tokenizer;
use nb_model::{Arena, fill, named_values, read_tensors, write_tensors};
use serde_json::{Map, Value};

use super::card::{CardLabels, CardText, ModelCard, to_markdown};
use crate::atomic_file::write_file;
use crate::plan::Plan;

/// Writes the parameters of a head.
///
/// # Errors
/// If the file cannot be written.
pub fn save_head(folder: &Path, arenas: &[&Arena]) -> Result<()> {
    let tensors: Vec<_> = arenas.iter().flat_map(|arena| named_values(arena)).collect();
    Ok(write_tensors(&folder.join(HEAD_FILE), &tensors)?)
}

/// Checks the width of a head's projection, which `newsbert.json` claims, against the file of the head before memory is
/// allocated for it; `hidden` is the encoder's width.
///
/// # Errors
/// If the file is too small for such a projection, or if the width is less than 1.
pub(crate) fn check_projection(folder: &Path, head: &HeadDescription, hidden: i64) -> Result<()> {
    let Some(width) = head.projection else { return Ok(()) };
    let size = std::fs::metadata(folder.join(HEAD_FILE)).map_or(0, |file| file.len());
    let most = size / (4 * (hidden.unsigned_abs() + 1)); // a row of the matrix and an entry of the bias, in f32
    if width < 1 || width.unsigned_abs() > most {
        let file = folder.join(DESCRIPTION_FILE);
        bail!("{}: head.projection is {width}, expected 1 to {most}, for which {HEAD_FILE} has room", file.display());
    }
    Ok(())
}

/// Reads the parameters of a head. The file must contain every parameter of `arenas` and no other.
///
/// # Errors
/// If the file cannot be read or does not fit.
pub(crate) fn fill_head(folder: &Path, arenas: &[&Arena]) -> Result<()> {
    let path = folder.join(HEAD_FILE);
    let mut tensors = read_tensors(&path)?;
    let Some((last, first)) = arenas.split_last() else { return Ok(()) };
    for arena in first {
        let slots = arena.layout().slots().iter();
        let values = slots.filter_map(|slot| tensors.remove_entry(&slot.name)).collect();
        fill(arena, values, &path)?;
    }
    // The last arena gets all remaining tensors, so an unknown one is an error.
    Ok(fill(last, tensors, &path)?)
}

/// Adds the labels to a `config.json`, as `id2label`, `label2id` and `problem_type`, so that other tools use the same class names.
fn add_labels(config: &Path, description: &Description) -> Result<()> {
    let read = || -> Result<Map<String, Value>> { Ok(serde_json::from_slice(&std::fs::read(config)?)?) };
    let mut json = read().with_context(|| format!("cannot read {}", config.display()))?;
    let numbered = || description.labels.iter().enumerate();
    let by_id: Map<String, Value> = numbered().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
    let by_label: Map<String, Value> = numbered().map(|(id, label)| (label.clone(), id.into())).collect();
    json.insert("id2label".into(), by_id.into());
    json.insert("label2id".into(), by_label.into());
    if description.label_kind() == LabelKind::Multi {
        json.insert("problem_type".into(), LabelKind::Multi.problem_type().into());
    }
    write_file(config, format!("{:#}\n", Value::Object(json)).as_bytes())
}

impl ModelCard {
    /// Makes the card of a run's models, without task-specific values.
    pub fn new(plan: &Plan, text: CardText) -> Self {
        Self {
            task: plan.data.task.name(),
            max_tokens: plan.data.max_tokens,
            truncation: plan.data.truncation,
            windows: plan.data.windows,
            columns: plan.data.columns,
            fields: plan.data.fields.clone(),
            history: None,
            self_attention: None,
            head: plan.head,
            run: plan.name.clone(),
            text,
        }
    }

    /// Writes the tokenizer's files, `newsbert.json`, the modules of sentence-transformers and the model card `README.md`
    /// beside an encoder and its head, and adds the labels to the encoder's `config.json`.
    ///
    /// # Errors
    /// If a file cannot be written, or if the head's file does not fit its description.
    pub fn write(&self, folder: &Path, labels: CardLabels<'_>, tokenizer: &Tokenizer) -> Result<()> {
        let description = Description {
            task: self.task.to_owned(),
            labels: labels.names.to_vec(),
            thresholds: labels.thresholds.to_vec(),
            max_tokens: self.max_tokens,
            truncate: self.truncation,
            windows: self.windows,
            texts: self.columns.min(2),
            fields: self.fields.clone(),
            history: self.history,
            self_attention: self.self_attention,
            head: self.head,
        };
        for file in tokenizer.files(description.longest_sequence()) {
            write_file(&folder.join(file.name), &file.bytes)?;
        }
        if !labels.names.is_empty() {
            add_labels(&folder.join(CONFIG_FILE), &description)?;
        }
        write_sentence_modules(folder, &description)?;
        write_file(&folder.join(DESCRIPTION_FILE), description.to_json().as_bytes())?;
        let family = BertConfig::read(&folder.join(CONFIG_FILE))?.family;
        write_file(&folder.join("README.md"), to_markdown(self, family).as_bytes())
    }
}

/// Returns a digest of the weights in a model folder, including those of its head if it has one. Of a model that no run made,
/// `config.json` belongs to it: it says the order of a classifier's labels and the first position.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn weights_digest(folder: &Path) -> Result<String> {
    let head = Some(folder.join(HEAD_FILE)).filter(|path| path.is_file());
    let config =
        Some(folder.join(CONFIG_FILE)).filter(|path| path.is_file() && !folder.join(DESCRIPTION_FILE).is_file());
    let files: Vec<PathBuf> = weight_files(folder).into_iter().chain(head).chain(config).collect();
    files_digest(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

/// Returns the first 16 hexadecimal digits of the BLAKE3 hash of concatenated files.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn files_digest(paths: &[&Path]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        let context = || format!("cannot read {}", path.display());
        hasher.update_reader(File::open(path).with_context(context)?).with_context(context)?;
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
