//! Writes safetensors headers and files.
//!
//! A file consists of the header's length as a little-endian u64, the header as JSON, padded with spaces to a multiple
//! of 8 bytes, and the bytes of the tensors. The header lists the metadata first, sorted by key, then the tensors in
//! the order of their bytes. (The crate `safetensors` writes metadata in a random order, so equal files would differ.)

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use nb_files::AtomicFile;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::CheckpointError;
use crate::tensor_bytes::TensorBytes;

/// Bytes of the buffer between a writer and its file.
const BUFFER: usize = 1 << 20;

/// The header of a safetensors file: metadata, and the tensors in the order of their bytes.
///
/// ```
/// use nb_checkpoint::{Dtype, Header};
/// let mut header = Header::default();
/// header.push("x", Dtype::F32, &[2, 3]);
/// let bytes = header.to_bytes("x.safetensors".as_ref())?;
/// assert_eq!(bytes[..8], 64_u64.to_le_bytes()); // spaces fill it up to a multiple of 8
/// assert_eq!(bytes[8..].trim_ascii_end(), br#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#);
/// # Ok::<(), nb_checkpoint::CheckpointError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
    /// The end of the last tensor, in bytes from the start of the first.
    end: usize,
}

impl Header {
    /// Returns a header for a model's weights, without tensors. It has the metadata entry `format`, because Hugging
    /// Face's loader refuses files without it.
    pub fn of_model() -> Self {
        let mut header = Self::default();
        header.set_metadata("format", "pt");
        header
    }

    /// Sets an entry of the metadata.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    /// Appends a tensor. Its bytes follow those of the previous tensor.
    pub fn push(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        // A product that overflows is saturated and matches no size, and `to_bytes` reports that.
        let bits = shape.iter().fold(dtype.bitsize(), |bits, &size| bits.saturating_mul(size));
        let data_offsets = (self.end, self.end.saturating_add(bits / 8));
        self.end = data_offsets.1;
        self.tensors.push((name.to_owned(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets }));
    }

    /// Returns the beginning of the file: the length of the header, the header and its padding. `path` appears in error
    /// messages.
    ///
    /// # Errors
    /// If the total size of the tensors overflows.
    pub fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, CheckpointError> {
        let json = || -> Result<Vec<u8>, SafeTensorError> {
            Metadata::new(None, self.tensors.clone())?; // checks sizes and offsets
            Ok(serde_json::to_vec(self)?)
        };
        let mut json = json().map_err(CheckpointError::weights(path))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("__metadata__", &self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

/// Writes a safetensors file: the header, then the bytes of the tensors, which `fill` writes in the header's order. The
/// file appears complete or not at all. It is not flushed to disk: a model is saved into a folder, which is flushed
/// when it is complete.
///
/// # Errors
/// If the file cannot be written. An existing file then remains unchanged.
pub fn write_tensor_file(
    path: &Path,
    header: &Header,
    fill: impl FnOnce(&mut BufWriter<AtomicFile>) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let header = header.to_bytes(path)?;
    let write = || {
        let mut out = BufWriter::with_capacity(BUFFER, AtomicFile::create(path)?);
        out.write_all(&header)?;
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.commit()
    };
    write().map_err(CheckpointError::io("cannot write", path))
}

/// Returns a safetensors file in memory. The tensors are sorted as in the crate `safetensors`: by element width, widest
/// first, which aligns each tensor, then by name. `path` appears in error messages.
///
/// # Errors
/// If a tensor's number of bytes does not match its shape.
pub fn serialize(
    path: &Path,
    metadata: &BTreeMap<&str, String>,
    mut tensors: Vec<TensorBytes<'_>>,
) -> Result<Vec<u8>, CheckpointError> {
    tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    let mut header = Header::default();
    metadata.iter().for_each(|(key, value)| header.set_metadata(key, value));
    for tensor in &tensors {
        let start = header.end;
        header.push(&tensor.name, tensor.dtype, &tensor.shape);
        let (found, expected) = (tensor.bytes.len(), header.end - start);
        if found != expected {
            let TensorBytes { name, shape, .. } = tensor;
            let found = format!("tensor {name} has {found} bytes, expected {expected} for its shape {shape:?}");
            return Err(CheckpointError::Weights { path: path.into(), found });
        }
    }
    let mut file = header.to_bytes(path)?;
    tensors.iter().for_each(|tensor| file.extend_from_slice(tensor.bytes));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    fn text(header: &Header) -> String {
        let bytes = header.to_bytes(Path::new("x")).unwrap();
        let (length, json) = bytes.split_first_chunk().unwrap();
        assert_eq!(u64::from_le_bytes(*length), json.len() as u64);
        assert_eq!(bytes.len() % 8, 0);
        String::from_utf8(json.to_vec()).unwrap()
    }

    #[test]
    fn header_bytes_do_not_change() {
        let mut header = Header::default();
        assert_eq!(text(&header), "{}      ");
        header.push("rows", Dtype::BF16, &[3, 4]);
        assert_eq!(text(&header), "{\"rows\":{\"dtype\":\"BF16\",\"shape\":[3,4],\"data_offsets\":[0,24]}}   ");
        header = Header::default();
        header.set_metadata("key", "a \"b\"");
        header.push("lines", Dtype::I64, &[5]);
        header.push("vectors", Dtype::F32, &[5, 2]);
        let expected = "{\"__metadata__\":{\"key\":\"a \\\"b\\\"\"},\"lines\":{\"dtype\":\"I64\",\"shape\":[5],\
            \"data_offsets\":[0,40]},\"vectors\":{\"dtype\":\"F32\",\"shape\":[5,2],\"data_offsets\":[40,80]}}";
        assert_eq!(text(&header).trim_end_matches(' '), expected);
        assert_eq!(text(&Header::of_model()), "{\"__metadata__\":{\"format\":\"pt\"}}");
    }

    #[test]
    fn a_file_equals_that_of_the_safetensors_crate_byte_for_byte() {
        let (a, b, c) = ([1u8; 8], [2u8; 12], [3u8; 16]);
        let tensors = [
            ("rows", Dtype::U32, vec![2], &a[..]),
            ("a \"é\"", Dtype::F32, vec![3, 1], &b),
            ("empty", Dtype::F32, vec![0, 7], &[]),
            ("scores", Dtype::F64, vec![2], &c),
        ];
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let expected = safetensors::serialize(views, Some(metadata)).unwrap();
        let ours = tensors.map(|(name, dtype, shape, bytes)| TensorBytes { name: name.into(), dtype, shape, bytes });
        let metadata = BTreeMap::from([("format", "pt".to_owned())]);
        assert_eq!(serialize(Path::new("x"), &metadata, ours.to_vec()).unwrap(), expected);
    }

    #[test]
    fn metadata_is_sorted_by_key() {
        let metadata = ["task", "primary", "split", "labels"].map(|key| (key, key.to_uppercase())).into();
        let file = serialize(Path::new("x"), &metadata, Vec::new()).unwrap();
        let json = std::str::from_utf8(&file[8..]).unwrap().trim_end();
        let expected = r#"{"__metadata__":{"labels":"LABELS","primary":"PRIMARY","split":"SPLIT","task":"TASK"}}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn sizes_that_do_not_match_the_shape_are_refused() {
        let path = Path::new("x.safetensors");
        let tensor = TensorBytes { name: "a".into(), dtype: Dtype::F32, shape: vec![2], bytes: &[0; 4] };
        let error = serialize(path, &BTreeMap::new(), vec![tensor]).unwrap_err().to_string();
        assert!(error.ends_with("tensor a has 4 bytes, expected 8 for its shape [2]"), "{error}");
        let mut header = Header::default();
        header.push("a", Dtype::F32, &[usize::MAX, 2]);
        assert!(header.to_bytes(path).is_err());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write_tensor_file(&path, &Header::of_model(), |_| Ok(())).unwrap();
        let old = std::fs::read(&path).unwrap();
        let error = write_tensor_file(&path, &Header::default(), |_| Err(io::Error::other("disk full"))).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        assert_eq!(std::fs::read(&path).unwrap(), old);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
