//! `outcomes.safetensors`: each model's outcome on each row, by which runs are compared.

use std::path::Path;

use anyhow::Result;
use nb_checkpoint::{TensorBytes, serialize};
use nb_report::record::OutcomesFile;

use crate::run_folder::atomic_file::write_file;

/// Writes the outcomes of a run; nothing where it has no model.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path, outcomes: &OutcomesFile) -> Result<()> {
    let Some((_, first)) = outcomes.models().next() else { return Ok(()) };
    let shape = vec![first.rows.len()];
    let columns = outcomes.columns();
    let mut tensors = Vec::new();
    for column in &columns {
        let (name, shape) = (column.name.clone(), shape.clone());
        tensors.push(TensorBytes { name, dtype: column.dtype, shape, bytes: &column.data });
    }
    write_file(path, &serialize(path, &outcomes.metadata(), tensors)?)
}
