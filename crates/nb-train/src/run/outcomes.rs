//! `outcomes.safetensors`: what each model made of each row, which is what runs are compared by.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use nb_checkpoint::{Dtype, TensorBytes, serialize};

use crate::model::Role;
use crate::run_folder::atomic_file::write_file;
use crate::task::SplitName;
use crate::task::evaluation::{Classes, Outcomes};

/// A tensor of one number per row, as bytes.
type Column = (String, Dtype, Vec<u8>);

/// Writes the outcomes of each model on `split`. All models were measured on the same rows.
///
/// Tensors: `rows` U32, `<model>.<metric>` F64; where the task tells classes `truth` U32, `<model>.predicted` U32 and
/// `<model>.probability` F32 of the predicted class. Metadata: `task`, `primary`, `split`, and `labels`,
/// the classes' names as JSON.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(
    path: &Path,
    task: &str,
    primary: &str,
    split: SplitName,
    models: &[(Role, &Outcomes)],
) -> Result<()> {
    let Some((_, first)) = models.first() else { return Ok(()) };
    let n = first.rows.len();
    let mut columns: Vec<Column> = vec![("rows".to_owned(), Dtype::U32, words(&first.rows))];
    if let Some(Classes { truth, .. }) = &first.classes {
        columns.push(("truth".to_owned(), Dtype::U32, words(truth)));
    }
    for (role, outcomes) in models {
        let name = |what: &str| format!("{}.{what}", role.name());
        for (metric, values) in &outcomes.values {
            columns.push((name(metric), Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
        if let Some(Classes { predicted, probability, .. }) = &outcomes.classes {
            columns.push((name("predicted"), Dtype::U32, words(predicted)));
            columns.push((name("probability"), Dtype::F32, probability.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
    }
    let tensors = columns.iter().map(|(name, dtype, bytes)| TensorBytes {
        name: name.clone(),
        dtype: *dtype,
        shape: vec![n],
        bytes,
    });
    let metadata = [("task", task), ("primary", primary), ("split", split.name())];
    let mut metadata: BTreeMap<&str, String> = metadata.map(|(k, v)| (k, v.to_owned())).into();
    if let Some(Classes { names, .. }) = &first.classes {
        metadata.insert("labels", serde_json::to_string(names)?);
    }
    write_file(path, &serialize(path, &metadata, tensors.collect())?)
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
