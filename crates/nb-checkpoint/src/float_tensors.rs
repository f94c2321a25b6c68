//! The tensors of a safetensors file as f32, by name.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::error::CheckpointError;
use crate::tensor_bytes::TensorBytes;
use crate::tensor_file::TensorFile;

/// The tensors of a file, by name. Their numbers are converted to f32 when they are requested.
///
/// ```
/// use nb_checkpoint::{Dtype, FloatTensors, TensorBytes, TensorFile, serialize};
/// let bytes = [0x80, 0x3f, 0x00, 0xc0]; // 1 and −2 in bf16
/// let tensor = TensorBytes { name: "x".to_owned(), dtype: Dtype::BF16, shape: vec![2], bytes: &bytes };
/// let path = "x.safetensors".as_ref();
/// let file = TensorFile::new(path, serialize(path, &Default::default(), vec![tensor])?);
/// let tensors = FloatTensors::of_head(&file)?;
/// assert_eq!(tensors.get("x", &[2])?, [1.0, -2.0]);
/// assert!(tensors.get("x", &[1, 2]).is_err());
/// # Ok::<(), nb_checkpoint::CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct FloatTensors<'a> {
    file: &'a TensorFile,
    tensors: BTreeMap<String, TensorBytes<'a>>,
}

impl<'a> FloatTensors<'a> {
    /// Returns the encoder's tensors, under their current names.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn of_encoder(file: &'a TensorFile) -> Result<Self, CheckpointError> {
        Ok(Self::new(file, file.encoder_tensors()?))
    }

    /// Returns all tensors.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn of_head(file: &'a TensorFile) -> Result<Self, CheckpointError> {
        Ok(Self::new(file, file.tensors()?))
    }

    fn new(file: &'a TensorFile, tensors: Vec<TensorBytes<'a>>) -> Self {
        Self { file, tensors: tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns true if there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Returns the shapes of all tensors.
    ///
    /// # Errors
    /// If a dimension is 2^63 or more.
    pub fn shapes(&self) -> Result<BTreeMap<&str, Vec<i64>>, CheckpointError> {
        self.tensors
            .iter()
            .map(|(name, tensor)| match tensor.signed_shape() {
                Some(shape) => Ok((name.as_str(), shape)),
                None => Err(self
                    .file
                    .damaged(format!("tensor {name} is of shape {:?}, expected dimensions below 2^63", tensor.shape))),
            })
            .collect()
    }

    /// Checks that every tensor's name begins with one of `known`.
    ///
    /// # Errors
    /// With the first name that does not.
    pub fn check_names(&self, known: &[&str]) -> Result<(), CheckpointError> {
        let is_unknown = |name: &&String| !known.iter().any(|known| name.starts_with(known));
        match self.tensors.keys().find(is_unknown) {
            None => Ok(()),
            Some(name) => {
                let expected = match known {
                    [] => "no tensor, as newsbert.json says".to_owned(),
                    known => format!("names that begin with {}, as newsbert.json says", known.join(", ")),
                };
                Err(self.error(name, "is unknown".to_owned(), expected))
            }
        }
    }

    /// Returns the numbers of a tensor of this shape, row by row. Numbers in f64 are rounded.
    ///
    /// # Errors
    /// If the tensor is missing, is of another shape, is not of a floating-point type, or has a number that is NaN or infinite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.error(name, "is missing".to_owned(), format!("shape {shape:?}")));
        };
        if tensor.shape != shape {
            return Err(self.error(name, format!("has the shape {:?}", tensor.shape), format!("{shape:?}")));
        }
        let Some(numbers) = to_f32(tensor) else {
            let expected = "F32, F16, BF16 or F64".to_owned();
            return Err(self.error(name, format!("is of type {:?}", tensor.dtype), expected));
        };
        match numbers.iter().filter(|x| !x.is_finite()).count() {
            0 => Ok(numbers),
            found => {
                let (path, tensor, total) = (self.path().to_owned(), name.to_owned(), numbers.len());
                Err(CheckpointError::NotFinite { path, tensor, found, total })
            }
        }
    }

    fn error(&self, name: &str, found: String, expected: String) -> CheckpointError {
        CheckpointError::Tensor { path: self.path().to_owned(), name: name.to_owned(), found, expected }
    }
}

/// Widens a tensor's numbers, or rounds them from f64; `None` for other types.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::serialize;

    fn file(dtype: Dtype, bytes: &[u8]) -> TensorFile {
        let shape = vec![8 * bytes.len() / dtype.bitsize()];
        let tensor = TensorBytes { name: "pooling.x".into(), dtype, shape, bytes };
        TensorFile::new(Path::new("x"), serialize(Path::new("x"), &BTreeMap::new(), vec![tensor]).unwrap())
    }

    #[test]
    fn every_floating_point_type_becomes_f32() {
        let numbers = [1.0_f32, -0.5, 3.0];
        let f16s = numbers.map(|x| f16::from_f32(x).to_le_bytes()).concat();
        let bf16s = numbers.map(|x| bf16::from_f32(x).to_le_bytes()).concat();
        let (f32s, f64s) =
            (numbers.map(f32::to_le_bytes).concat(), numbers.map(|x| f64::from(x).to_le_bytes()).concat());
        for (dtype, bytes) in [(Dtype::F32, f32s), (Dtype::F16, f16s), (Dtype::BF16, bf16s), (Dtype::F64, f64s)] {
            let file = file(dtype, &bytes);
            assert_eq!(FloatTensors::of_head(&file).unwrap().get("pooling.x", &[3]).unwrap(), numbers, "{dtype:?}");
        }
    }

    #[test]
    fn errors_name_the_tensor_and_the_difference() {
        let integers = file(Dtype::I32, &[0; 8]);
        let tensors = FloatTensors::of_head(&integers).unwrap();
        let error = |result: Result<Vec<f32>, CheckpointError>| result.unwrap_err().to_string();
        assert_eq!(error(tensors.get("y", &[2])), "x: tensor y is missing, expected shape [2]");
        assert_eq!(error(tensors.get("pooling.x", &[3])), "x: tensor pooling.x has the shape [2], expected [3]");
        let expected = "x: tensor pooling.x is of type I32, expected F32, F16, BF16 or F64";
        assert_eq!(error(tensors.get("pooling.x", &[2])), expected);
        assert!(tensors.check_names(&["dense.", "pooling."]).is_ok());
        let unknown = tensors.check_names(&["dense."]).unwrap_err().to_string();
        assert_eq!(
            unknown,
            "x: tensor pooling.x is unknown, expected names that begin with dense., as newsbert.json says"
        );
        assert!(tensors.check_names(&[]).unwrap_err().to_string().contains("expected no tensor"));
        let infinite = file(Dtype::F64, &[f64::MAX, 1.0].map(f64::to_le_bytes).concat());
        let error = error(FloatTensors::of_head(&infinite).unwrap().get("pooling.x", &[2]));
        assert!(error.contains("1 of the 2 values of tensor pooling.x are NaN or infinite"), "{error}");
    }
}
