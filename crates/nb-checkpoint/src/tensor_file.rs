//! Reads safetensors files as checked byte slices.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::SafeTensors;

use crate::bytes::Bytes;
use crate::error::CheckpointError;
use crate::family::Family;
use crate::names::{encoder_names, ignored};
use crate::tensor_bytes::TensorBytes;

/// A safetensors file in memory, or mapped. A clone shares the bytes.
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
pub struct TensorFile {
    path: PathBuf,
    bytes: Arc<Bytes>,
}

impl TensorFile {
    /// Wraps the bytes of a file; `path` appears in error messages.
    pub fn new(path: &Path, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes: Bytes::Owned(bytes).into() }
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
        Ok(Self { path: path.into(), bytes: bytes.into() })
    }

    /// Returns all bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the place of a tensor of this file among its bytes.
    ///
    /// # Panics
    /// If the tensor is not from this file.
    pub(crate) fn range(&self, tensor: &TensorBytes<'_>) -> Range<usize> {
        let start = tensor.bytes.as_ptr().addr().wrapping_sub(self.bytes.as_ptr().addr());
        let end = start.checked_add(tensor.bytes.len()).filter(|&end| end <= self.bytes.len());
        start..end.expect("a tensor of this file")
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all tensors, sorted by name.
    ///
    /// # Errors
    /// If the file is truncated or malformed.
    pub fn tensors(&self) -> Result<Vec<TensorBytes<'_>>, CheckpointError> {
        self.renamed(|names| names.iter().map(|&name| Some(name.to_owned())).collect())
    }

    /// Returns the tensors of the encoder under their current names in `BertModel`. The file has the names of `family`; it
    /// may use the family's prefix and, for LayerNorm's parameters, the old names `gamma` and `beta`. Tensors outside the
    /// encoder are skipped, and unusual ones are logged.
    ///
    /// # Errors
    /// As [`TensorFile::tensors`].
    pub fn encoder_tensors(&self, family: Family) -> Result<Vec<TensorBytes<'_>>, CheckpointError> {
        self.renamed(|names| {
            let renamed = encoder_names(names, family);
            if let Some(message) = ignored(names, &renamed, family) {
                tracing::info!("{}: {message}", self.path.display());
            }
            renamed
        })
    }

    /// Returns an error about this file's content.
    pub fn damaged(&self, found: impl Into<String>) -> CheckpointError {
        CheckpointError::Weights { path: self.path.clone(), found: found.into() }
    }

    /// Returns the tensors under new names. `rename` maps the file's names, in ascending order, to new names; tensors
    /// that it maps to `None` are skipped and can be of any type.
    fn renamed(
        &self,
        rename: impl FnOnce(&[&str]) -> Vec<Option<String>>,
    ) -> Result<Vec<TensorBytes<'_>>, CheckpointError> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(CheckpointError::weights(&self.path))?;
        let mut names = file.names();
        names.sort_unstable();
        let (mut tensors, mut seen) = (Vec::with_capacity(names.len()), HashSet::new());
        for (name, renamed) in names.iter().zip(rename(&names)) {
            let Some(new_name) = renamed else { continue };
            if !seen.insert(new_name.clone()) {
                return Err(
                    self.damaged(format!("tensor {new_name} is there twice, under an old and its current name"))
                );
            }
            let view = file.tensor(name).map_err(CheckpointError::weights(&self.path))?;
            let shape = view.shape().to_vec();
            tensors.push(TensorBytes { name: new_name, dtype: view.dtype(), shape, bytes: view.data() });
        }
        Ok(tensors)
    }
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
    fn a_tensor_under_both_of_its_names_is_refused() {
        let names = ["embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"];
        let file = TensorFile::new(Path::new("x"), file(&names));
        let error = file.encoder_tensors(Family::Bert).unwrap_err().to_string();
        assert!(error.contains("tensor embeddings.LayerNorm.weight is there twice"), "{error}");
        assert_eq!(file.tensors().unwrap().len(), 2);
    }

    #[test]
    fn encoder_tensors_have_their_current_names() {
        let names = ["bert.encoder.layer.0.x", "bert.embeddings.LayerNorm.gamma", "bert.pooler.dense.bias", "crf.x"];
        let file = TensorFile::new(Path::new("x"), file(&names));
        let found: Vec<String> =
            file.encoder_tensors(Family::Bert).unwrap().into_iter().map(|tensor| tensor.name).collect();
        assert_eq!(found, ["embeddings.LayerNorm.weight", "encoder.layer.0.x"]);
        assert_eq!(file.tensors().unwrap().len(), 4);
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
