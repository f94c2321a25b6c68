//! `outcomes.safetensors`: what each model made of each row, which is what runs are compared by.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::model::Role;
use crate::run_folder::atomic_file::write_whole;
use crate::task::SplitName;
use crate::task::evaluation::{Classes, MetricValues, Outcomes};

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
        for MetricValues { metric, values } in &outcomes.values {
            columns.push((name(metric), Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
        if let Some(Classes { predicted, probability, .. }) = &outcomes.classes {
            columns.push((name("predicted"), Dtype::U32, words(predicted)));
            columns.push((name("probability"), Dtype::F32, probability.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
    }
    let views = columns.iter().map(|(name, dtype, data)| Ok((name.as_str(), TensorView::new(*dtype, vec![n], data)?)));
    let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>().context("outcomes")?;
    let metadata = [("task", task), ("primary", primary), ("split", split.name())];
    let mut metadata: BTreeMap<&str, String> = metadata.map(|(k, v)| (k, v.to_owned())).into();
    if let Some(Classes { names, .. }) = &first.classes {
        metadata.insert("labels", serde_json::to_string(names)?);
    }
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

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
