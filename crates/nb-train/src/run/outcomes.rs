//! `outcomes.safetensors`: the outcome of each row under each model, for the comparison of runs.

use std::path::Path;

use anyhow::Result;
use nb_checkpoint::{TensorBytes, serialize};
use nb_report::record::OutcomesFile;

use crate::atomic_file::write_file;

/// Writes the outcomes of a run. Writes no file if they contain no model.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path, outcomes: &OutcomesFile) -> Result<()> {
    let Some((_, first)) = outcomes.models().next() else { return Ok(()) };
    let n = first.rows.len();
    let columns = outcomes.columns();
    let tensors = columns.iter().map(|column| TensorBytes {
        name: column.name.clone(),
        dtype: column.dtype,
        shape: vec![n],
        bytes: &column.data,
    });
    write_file(path, &serialize(path, &outcomes.metadata(), tensors.collect())?)
}
