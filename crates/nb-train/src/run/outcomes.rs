//! `outcomes.safetensors`: what each model made of each row, which is what runs are compared by.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use nb_report::record::OutcomesFile;
use safetensors::tensor::TensorView;

use crate::run_folder::atomic_file::write_whole;

/// Writes the outcomes of a run; nothing where it has no model.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path, outcomes: &OutcomesFile) -> Result<()> {
    let Some((_, first)) = outcomes.models().next() else { return Ok(()) };
    let n = first.rows.len();
    let columns = outcomes.columns();
    let mut views = Vec::new();
    for column in &columns {
        views.push((column.name.as_str(), TensorView::new(column.dtype, vec![n], &column.data).context("outcomes")?));
    }
    let metadata = outcomes.metadata();
    let file = safetensors::serialize(views, None).context("outcomes")?;
    write_whole(path, &with_metadata(&file, &metadata).context("outcomes")?)
}

/// A safetensors file with metadata in the order of their names. The library writes them in an order of chance, so that two
/// runs that are the same would not write the same bytes.
fn with_metadata(file: &[u8], metadata: &BTreeMap<&str, String>) -> Result<Vec<u8>> {
    let (length, rest) = file.split_first_chunk::<8>().context("no header")?;
    let (header, data) = rest.split_at_checked(u64::from_le_bytes(*length) as usize).context("half a header")?;
    let tensors = std::str::from_utf8(header)?.trim_end().strip_prefix('{').context("no JSON")?;
    let mut header = format!("{{\"__metadata__\":{},{tensors}", serde_json::to_string(metadata)?).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, data].concat())
}
