//! PyTorch's format since version 1.6: a zip archive with the pickle `NAME/data.pkl` and one file `NAME/data/KEY` for
//! each storage.

use std::collections::HashMap;
use std::ops::Range;

use super::pickle::{Storage, load};
use super::state::tensors;
use super::zip::Table;
use crate::contents::Contents;

/// Returns the tensors of an archive.
///
/// # Errors
/// A message, if the archive is malformed, is of another kind, or contains more than tensors and containers.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, String> {
    let table = Table::read(bytes)?;
    // The folder has the name of the file when it was saved.
    let folder = table.names().next().and_then(|name| name.split_once('/')).map_or("", |(folder, _)| folder);
    if table.names().filter_map(|name| name.strip_prefix(folder)).any(is_script) {
        return Err("it is a TorchScript archive, which contains code, expected a state dict; load it in Python with \
                    `torch.jit.load` and save its `state_dict()`"
            .to_owned());
    }
    let files = table.stored()?.into_iter();
    let files: HashMap<&str, Range<usize>> =
        files.filter_map(|file| Some((file.name.strip_prefix(folder)?, file.range))).collect();
    let pickle = files.get("/data.pkl").ok_or("it is a zip archive without data.pkl, expected one of torch.save")?;
    match files.get("/byteorder").map(|range| &bytes[range.clone()]) {
        None | Some(b"little") => {}
        Some(b"big") => return Err("its numbers are big-endian, expected little-endian".to_owned()),
        Some(_) => return Err("its byteorder is neither little nor big".to_owned()),
    }
    let pickle = load(&bytes[pickle.clone()])?;
    tensors(&pickle, |storage| place(&files, storage))
}

/// Returns true for the name of an entry that only TorchScript writes.
fn is_script(name: &str) -> bool {
    name == "/constants.pkl" || name.starts_with("/code/")
}

/// Returns the bytes of a storage.
fn place(files: &HashMap<&str, Range<usize>>, storage: &Storage<'_>) -> Result<Range<usize>, String> {
    let key = storage.key;
    if storage.part.is_some() {
        return Err(format!("storage {key} is a part of another, which only older files have"));
    }
    let found = files.get(format!("/data/{key}").as_str());
    let range = found.ok_or_else(|| format!("storage {} is missing", key.escape_debug()))?;
    let width = storage.dtype.map_or(1, |dtype| dtype.bitsize() / 8);
    if storage.numel.checked_mul(width) != Some(range.len()) {
        let numel = storage.numel;
        return Err(format!("storage {key} has {} bytes, expected {numel} elements of {width} bytes", range.len()));
    }
    Ok(range.clone())
}
