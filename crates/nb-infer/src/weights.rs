//! Named f32 numbers from safetensors files.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use nb_checkpoint::{CheckpointError, Dtype, TensorBytes, TensorFile};

use crate::error::InferError;

/// The tensors of a file, by name.
pub(crate) struct Weights<'a> {
    file: &'a TensorFile,
    tensors: BTreeMap<String, TensorBytes<'a>>,
}

impl<'a> Weights<'a> {
    /// Returns the encoder's tensors, under their current names.
    pub(crate) fn of_encoder(file: &'a TensorFile) -> Result<Self, CheckpointError> {
        Ok(Self::new(file, file.encoder_tensors()?))
    }

    /// Returns all tensors.
    pub(crate) fn of_head(file: &'a TensorFile) -> Result<Self, CheckpointError> {
        Ok(Self::new(file, file.tensors()?))
    }

    fn new(file: &'a TensorFile, tensors: Vec<TensorBytes<'a>>) -> Self {
        Self { file, tensors: tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect() }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns true if there is a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Returns the shapes of all tensors.
    pub(crate) fn shapes(&self) -> Result<BTreeMap<&str, Vec<i64>>, CheckpointError> {
        self.tensors
            .iter()
            .map(|(name, tensor)| {
                let shape = tensor.signed_shape().ok_or_else(|| {
                    let found = format!("tensor {name} is of shape {:?}, expected dimensions below 2^63", tensor.shape);
                    self.file.damaged(found)
                })?;
                Ok((name.as_str(), shape))
            })
            .collect()
    }

    /// Checks that every tensor's name begins with one of `known`.
    ///
    /// # Errors
    /// With the first name that does not.
    pub(crate) fn check_names(&self, known: &[&str]) -> Result<(), InferError> {
        let is_unknown = |name: &&String| !known.iter().any(|known| name.starts_with(known));
        match self.tensors.keys().find(is_unknown) {
            None => Ok(()),
            Some(name) => Err(InferError::Tensor {
                path: self.path().to_owned(),
                name: name.clone(),
                found: "is unknown".to_owned(),
                expected: format!("names that begin with {}, as newsbert.json says", known.join(", ")),
            }),
        }
    }

    /// Returns the numbers of a tensor of this shape.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferError> {
        let differs = |found: String, expected: String| InferError::Tensor {
            path: self.path().to_owned(),
            name: name.to_owned(),
            found,
            expected,
        };
        let Some(tensor) = self.tensors.get(name) else {
            return Err(differs("is missing".to_owned(), format!("shape {shape:?}")));
        };
        if tensor.shape != shape {
            return Err(differs(format!("has the shape {:?}", tensor.shape), format!("{shape:?}")));
        }
        let numbers = to_f32(tensor);
        let numbers = numbers
            .ok_or_else(|| differs(format!("is of type {:?}", tensor.dtype), "F32, F16, BF16 or F64".to_owned()))?;
        match numbers.iter().filter(|x| !x.is_finite()).count() {
            0 => Ok(numbers),
            found => {
                let (path, tensor, total) = (self.path().to_owned(), name.to_owned(), numbers.len());
                Err(CheckpointError::NotFinite { path, tensor, found, total }.into())
            }
        }
    }
}

/// Widens a tensor's numbers, or narrows them from f64; `None` for other types.
fn to_f32(tensor: &TensorBytes<'_>) -> Option<Vec<f32>> {
    fn all<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    match tensor.dtype {
        Dtype::F32 => Some(all(tensor.bytes, f32::from_le_bytes)),
        Dtype::F16 => Some(all(tensor.bytes, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(all(tensor.bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F64 => Some(all(tensor.bytes, |bytes| f64::from_le_bytes(bytes) as f32)),
        _ => None,
    }
}
