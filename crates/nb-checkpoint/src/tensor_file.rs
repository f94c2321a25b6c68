//! Reads a file of weights as checked byte slices: safetensors, or `torch.save`'s formats.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::bytes::{Bytes, Slice};
use crate::contents::{Contents, Entry, Place};
use crate::error::CheckpointError;
use crate::tensor_bytes::TensorBytes;
use crate::torch;
use crate::view::View;

/// The extensions of files that PyTorch writes. All other files are safetensors.
const TORCH_EXTENSIONS: [&str; 3] = ["bin", "pt", "pth"];
/// The copies of tensors that are not row by row in a file take at most this multiple of its length, so that a file
/// that claims huge tensors is refused before memory is allocated for them.
const MAX_COPIES: usize = 4;

/// A file of weights in memory, or mapped. A clone shares the bytes.
///
/// A file whose name ends in `.bin`, `.pt` or `.pth` is read as PyTorch's `torch.save` writes it, since version 1.6 or
/// before, without running code: it may contain tensors and containers, and any other class or function is refused by
/// name. Every other file is read as safetensors.
///
/// ```
/// use nb_checkpoint::{Dtype, TensorFile};
/// let header = br#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
/// let bytes = [&(header.len() as u64).to_le_bytes(), &header[..], &2f32.to_le_bytes()].concat();
/// let file = TensorFile::new("x.safetensors".as_ref(), bytes);
/// let tensors = file.tensors()?;
/// assert_eq!((tensors[0].name.as_str(), tensors[0].dtype, tensors[0].bytes), ("x", Dtype::F32, &2f32.to_le_bytes()[..]));
/// # Ok::<(), nb_checkpoint::CheckpointError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TensorFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    bytes: Arc<Bytes>,
    /// The tensors, or the reason why the file is refused, once they are requested.
    contents: OnceLock<Result<Stored, String>>,
    /// The total size of the copies of tensors.
    copied: AtomicUsize,
}

/// The tensors of a file, with copies of those that are not row by row in it.
#[derive(Debug)]
struct Stored {
    entries: Vec<Entry>,
    /// One for each entry.
    copies: Vec<OnceLock<Arc<Bytes>>>,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Torch,
}

impl TensorFile {
    /// Wraps the bytes of a file. The extension of `path` determines the format, and `path` appears in error messages.
    pub fn new(path: &Path, bytes: Vec<u8>) -> Self {
        Self::of(path, Bytes::Owned(bytes))
    }

    /// Reads a file. Its content is checked when its tensors are requested.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(path).map_err(CheckpointError::io("cannot read", path))?;
        Ok(Self::new(path, bytes))
    }

    /// Maps a file into memory: bytes are read when they are first used. Its content is checked when its tensors are requested. The
    /// file must not be changed in place, only replaced, while it is mapped.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn map(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = Bytes::map(path).map_err(CheckpointError::io("cannot read", path))?;
        Ok(Self::of(path, bytes))
    }

    fn of(path: &Path, bytes: Bytes) -> Self {
        let (contents, copied) = (OnceLock::new(), AtomicUsize::new(0));
        Self(Arc::new(Inner { path: path.into(), bytes: bytes.into(), contents, copied }))
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns all tensors, sorted by name.
    ///
    /// # Errors
    /// If the file is truncated, malformed, or a pickle with more than tensors and containers.
    pub fn tensors(&self) -> Result<Vec<TensorBytes<'_>>, CheckpointError> {
        let stored = self.stored()?;
        (0..stored.entries.len()).map(|index| self.tensor(stored, index)).collect()
    }

    /// Returns the names of all tensors, sorted.
    ///
    /// # Errors
    /// As [`TensorFile::tensors`].
    pub(crate) fn names(&self) -> Result<Vec<&str>, CheckpointError> {
        Ok(self.stored()?.entries.iter().map(|entry| entry.name.as_str()).collect())
    }

    /// Returns the tensor of this name, if the file has one. Other tensors can be unusable.
    ///
    /// # Errors
    /// As [`TensorFile::tensors`].
    pub(crate) fn get(&self, name: &str) -> Result<Option<TensorBytes<'_>>, CheckpointError> {
        let stored = self.stored()?;
        let found = stored.entries.binary_search_by(|entry| entry.name.as_str().cmp(name));
        found.ok().map(|index| self.tensor(stored, index)).transpose()
    }

    /// Returns the bytes of a tensor in a form that can outlive this value; `None` if the tensor is of another file.
    pub(crate) fn slice(&self, tensor: &TensorBytes<'_>) -> Option<Slice> {
        let copies = self.0.contents.get().and_then(|contents| contents.as_ref().ok()).map(|stored| &stored.copies);
        let copies = copies.into_iter().flatten().filter_map(OnceLock::get);
        [&self.0.bytes].into_iter().chain(copies).find_map(|bytes| Slice::within(bytes, tensor.bytes))
    }

    /// Returns an error about this file's content.
    pub fn damaged(&self, found: impl Into<String>) -> CheckpointError {
        let (path, found) = (self.path().to_owned(), found.into());
        match self.format() {
            Format::Safetensors => CheckpointError::Weights { path, found },
            Format::Torch => CheckpointError::Pickle { path, found },
        }
    }

    fn format(&self) -> Format {
        let extension = self.path().extension().and_then(|extension| extension.to_str());
        match extension {
            Some(extension) if TORCH_EXTENSIONS.contains(&extension) => Format::Torch,
            _ => Format::Safetensors,
        }
    }

    /// Returns the tensors of the file, and reads them first if this is the first call.
    fn stored(&self) -> Result<&Stored, CheckpointError> {
        let read = || {
            let Contents { entries, remarks } = match self.format() {
                Format::Safetensors => safetensors(&self.0.bytes),
                Format::Torch => torch::read(&self.0.bytes),
            }?;
            remarks.iter().for_each(|remark| tracing::info!("{}: {remark}", self.path().display()));
            Ok(Stored { copies: entries.iter().map(|_| OnceLock::new()).collect(), entries })
        };
        self.0.contents.get_or_init(read).as_ref().map_err(|found: &String| self.damaged(found))
    }

    fn tensor<'a>(&'a self, stored: &'a Stored, index: usize) -> Result<TensorBytes<'a>, CheckpointError> {
        let Entry { name, dtype, shape, place } = &stored.entries[index];
        let bytes = match place {
            Place::Bytes(range) => &self.0.bytes[range.clone()],
            Place::View(view) => self
                .copy(&stored.copies[index], view)
                .map_err(|found| self.damaged(format!("tensor {} of shape {shape:?} {found}", name.escape_debug())))?,
        };
        Ok(TensorBytes { name: name.clone(), dtype: *dtype, shape: shape.clone(), bytes })
    }

    /// Returns the copy of a tensor that is not row by row in the file.
    ///
    /// # Errors
    /// A message, if all copies together would take too much memory.
    fn copy<'a>(&self, copy: &'a OnceLock<Arc<Bytes>>, view: &View) -> Result<&'a [u8], String> {
        if let Some(copy) = copy.get() {
            return Ok(copy);
        }
        let (bytes, limit) = (view.bytes(), self.0.bytes.len().saturating_mul(MAX_COPIES));
        let total = self.0.copied.load(Ordering::Relaxed).checked_add(bytes).filter(|total| *total <= limit);
        let total = total.ok_or_else(|| {
            let length = self.0.bytes.len();
            format!("is a view that would take {bytes} bytes, expected at most {MAX_COPIES} times the file's {length}")
        })?;
        // Two threads may count only one copy each; the bound need not be exact.
        self.0.copied.store(total, Ordering::Relaxed);
        Ok(copy.get_or_init(|| Arc::new(Bytes::Owned(view.copy(&self.0.bytes)))))
    }
}

/// Returns the tensors of a safetensors file.
fn safetensors(bytes: &[u8]) -> Result<Contents, String> {
    let (header, metadata): (usize, Metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let start = size_of::<u64>() + header;
    let entry = |(name, info): (String, &TensorInfo)| {
        let (from, to) = info.data_offsets;
        let place = Place::Bytes(start + from..start + to);
        Entry { name, dtype: info.dtype, shape: info.shape.clone(), place }
    };
    let mut entries: Vec<Entry> = metadata.tensors().into_iter().map(entry).collect();
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Contents { entries, remarks: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use safetensors::Dtype;

    use super::*;
    use crate::header::serialize;

    fn file(names: &[&str]) -> Vec<u8> {
        let tensor = |&name: &&str| TensorBytes { name: name.into(), dtype: Dtype::U8, shape: vec![1], bytes: &[7] };
        serialize(Path::new("x"), &BTreeMap::new(), names.iter().map(tensor).collect()).unwrap()
    }

    #[test]
    fn a_truncated_file_is_damaged() {
        let bytes = file(&["a", "b"]);
        for end in 0..bytes.len() {
            let error = TensorFile::new(Path::new("x"), bytes[..end].to_vec()).tensors().unwrap_err().to_string();
            assert!(error.starts_with("x is not a complete safetensors file: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn tensors_survive_a_round_trip(values in prop::collection::vec(any::<u8>(), 0..64), columns in 1usize..4) {
            let bytes = &values[..values.len() / (2 * columns) * 2 * columns];
            let tensor = TensorBytes {
                name: "a".into(), dtype: Dtype::F16, shape: vec![bytes.len() / (2 * columns), columns], bytes,
            };
            let file = serialize(Path::new("x"), &BTreeMap::new(), vec![tensor.clone()]).unwrap();
            let file = TensorFile::new(Path::new("x"), file);
            prop_assert_eq!(file.tensors().unwrap(), [tensor]);
        }
    }
}
