//! Writes a graph as a file.

use std::io;
use std::path::Path;

use prost::Message;

use super::graph::Graph;
use super::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::error::ExportError;

/// The version of ONNX's operators: the first with LayerNormalization, so the one that most runtimes read. Nothing in a later
/// version is needed.
pub(super) const OPSET: i64 = 17;
/// The version of the format that came with the operators.
pub(super) const IR_VERSION: i64 = 8;
/// The largest message that protocol buffers permit.
const MAX_BYTES: usize = i32::MAX as usize;

/// Refuses a model that is not a folder.
pub(super) fn check_folder(path: &Path) -> Result<(), ExportError> {
    if path.is_dir() { Ok(()) } else { Err(ExportError::NotAFolder { path: path.to_owned() }) }
}

/// Refuses a path that a file cannot take.
///
/// # Errors
/// If it is a folder. (Other errors appear when the file is written; this one would appear only after the file's folder is full.)
pub(super) fn check_output(path: &Path) -> Result<(), ExportError> {
    if path.is_dir() {
        let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, expected the path of a file");
        return Err(ExportError::Write { path: path.to_owned(), source });
    }
    Ok(())
}

/// Refuses a size that the format does not permit.
pub(super) fn check_bytes(path: &Path, bytes: usize) -> Result<(), ExportError> {
    if bytes > MAX_BYTES {
        return Err(ExportError::TooLarge { path: path.to_owned(), bytes, most: MAX_BYTES });
    }
    Ok(())
}

/// Writes a model with this graph and these entries of its metadata. The file appears complete or not at all.
///
/// # Errors
/// If the file would be too large or cannot be written.
pub(super) fn write(path: &Path, graph: Graph, metadata: Vec<(&str, String)>) -> Result<(), ExportError> {
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(graph.finish()),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    };
    check_bytes(path, model.encoded_len())?;
    let bytes = model.encode_to_vec();
    drop(model); // the weights need not be in memory twice
    nb_files::write(path, &bytes).map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let path = Path::new("x.onnx");
        assert!(check_bytes(path, 2_147_483_647).is_ok());
        let error = check_bytes(path, 2_147_483_648).unwrap_err().to_string();
        let expected = "x.onnx would have 2147483648 bytes, expected at most 2147483647, the limit of the format";
        assert_eq!(error, expected);
    }
}
