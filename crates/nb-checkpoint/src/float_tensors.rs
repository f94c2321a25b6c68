//! The tensors of a safetensors file as f32, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::error::CheckpointError;
use crate::family::Family;
use crate::tensor_bytes::TensorBytes;
use crate::tensor_file::TensorFile;
use crate::tensor_table::{Numbers, TensorTable};
use crate::weights::Weights;

/// The tensors of a file, or of the files of an encoder, by name. Their numbers are converted to f32 when they are requested. A matrix `x` may be in 8 bits; then a
/// tensor `x_scale` has the scale of each row, in f32.
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
    path: &'a Path,
    files: Vec<&'a TensorFile>,
    tensors: BTreeMap<String, TensorBytes<'a>>,
    /// The scales of matrices in 8 bits, by the name of the matrix.
    scales: BTreeMap<String, TensorBytes<'a>>,
}

/// The end of the name of the scales of a matrix in 8 bits, after the name of the matrix.
pub const SCALE_SUFFIX: &str = "_scale";

/// A matrix in 8 bits: entry w of row r stands for `scales[r]` · w.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// The entries, row by row.
    pub entries: Vec<i8>,
    /// The scale of each row.
    pub scales: Vec<f32>,
}

impl<'a> FloatTensors<'a> {
    /// Returns the tensors of an encoder of this family, under BERT's current names.
    ///
    /// # Errors
    /// As [`Weights::encoder_tensors`].
    pub fn of_encoder(weights: &'a Weights, family: Family) -> Result<Self, CheckpointError> {
        let tensors = weights.encoder_tensors(family)?;
        Ok(Self::new(weights.path(), weights.opened().collect(), tensors))
    }

    /// Returns some tensors under the names of the file.
    ///
    /// # Errors
    /// As [`Weights::encoder_tensors`], or if there is no tensor of one of the names.
    pub fn of_names(weights: &'a Weights, names: &[String]) -> Result<Self, CheckpointError> {
        let tensors = weights.tensors(names)?;
        Ok(Self::new(weights.path(), weights.opened().collect(), tensors))
    }

    /// Returns all tensors.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn of_head(file: &'a TensorFile) -> Result<Self, CheckpointError> {
        Ok(Self::new(file.path(), vec![file], file.tensors()?))
    }

    fn new(path: &'a Path, files: Vec<&'a TensorFile>, all: Vec<TensorBytes<'a>>) -> Self {
        let (mut tensors, mut scales) = (BTreeMap::new(), BTreeMap::new());
        let names: BTreeSet<String> = all.iter().map(|tensor| tensor.name.clone()).collect();
        for tensor in all {
            match tensor.name.strip_suffix(SCALE_SUFFIX).filter(|name| names.contains(*name)).map(str::to_owned) {
                Some(name) => scales.insert(name, tensor),
                None => tensors.insert(tensor.name.clone(), tensor),
            };
        }
        Self { path, files, tensors, scales }
    }

    /// Returns the path of the file, or of the index of several files.
    pub fn path(&self) -> &Path {
        self.path
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
                None => {
                    let found = format!("is of shape {:?}", tensor.shape);
                    Err(self.error(name, found, "dimensions below 2^63".to_owned()))
                }
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
    /// If the tensor is missing, is of another shape, is not of a floating-point type nor in 8 bits, or has a number that is NaN or
    /// infinite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let tensor = self.find(name, shape)?;
        if tensor.dtype == Dtype::I8 {
            let Int8Rows { entries, scales } = self.rows(tensor)?;
            let rows = entries.chunks_exact(entries.len() / scales.len()).zip(scales);
            return Ok(rows.flat_map(|(row, scale)| row.iter().map(move |&entry| f32::from(entry) * scale)).collect());
        }
        let numbers = to_f32(tensor).ok_or_else(|| self.wrong_type(tensor))?;
        self.check_finite(name, numbers)
    }

    /// Returns a matrix of this shape in 8 bits; `None` if it is of another type.
    ///
    /// # Errors
    /// If the tensor is missing or is of another shape, or if its scales are missing, of another shape or type, or not finite.
    pub fn int8(&self, name: &str, shape: [usize; 2]) -> Result<Option<Int8Rows>, CheckpointError> {
        let tensor = self.find(name, &shape)?;
        if tensor.dtype == Dtype::I8 { self.rows(tensor).map(Some) } else { Ok(None) }
    }

    /// Returns a matrix whose rows stay in the file until they are read.
    ///
    /// # Errors
    /// As [`FloatTensors::get`], except that the numbers are not checked.
    pub fn table(&self, name: &str, shape: [usize; 2]) -> Result<TensorTable, CheckpointError> {
        let tensor = self.find(name, &shape)?;
        let numbers = match tensor.dtype {
            Dtype::F32 => Numbers::F32,
            Dtype::F16 => Numbers::F16,
            Dtype::BF16 => Numbers::Bf16,
            Dtype::F64 => Numbers::F64,
            Dtype::I8 => Numbers::Int8(self.row_scales(tensor)?),
            _ => return Err(self.wrong_type(tensor)),
        };
        let bytes = self.files.iter().find_map(|file| file.slice(tensor));
        Ok(TensorTable::new(bytes.expect("a tensor of these files"), numbers, shape[1]))
    }

    /// Finds a tensor of this shape.
    fn find(&self, name: &str, shape: &[usize]) -> Result<&TensorBytes<'a>, CheckpointError> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor),
            Some(tensor) => Err(self.error(name, format!("has the shape {:?}", tensor.shape), format!("{shape:?}"))),
            None => Err(self.error(name, "is missing".to_owned(), format!("shape {shape:?}"))),
        }
    }

    /// Returns the rows of a matrix in 8 bits.
    fn rows(&self, tensor: &TensorBytes<'_>) -> Result<Int8Rows, CheckpointError> {
        let scales = self.row_scales(tensor)?;
        Ok(Int8Rows { entries: tensor.bytes.iter().map(|&byte| byte.cast_signed()).collect(), scales })
    }

    /// Returns the scales of a matrix in 8 bits.
    fn row_scales(&self, tensor: &TensorBytes<'_>) -> Result<Vec<f32>, CheckpointError> {
        let (name, rows) = (format!("{}{SCALE_SUFFIX}", tensor.name), tensor.shape.first().copied().unwrap_or(0));
        let Some(scales) = self.scales.get(&tensor.name) else {
            let expected = format!("the scales of {rows} rows of tensor {}", tensor.name);
            return Err(self.error(&name, "is missing".to_owned(), expected));
        };
        if scales.shape != [rows] || scales.dtype != Dtype::F32 || tensor.shape.len() != 2 || tensor.bytes.is_empty() {
            let found = format!("has the shape {:?} and the type {:?}", scales.shape, scales.dtype);
            return Err(self.error(&name, found, format!("[{rows}] and F32, for a matrix with entries")));
        }
        self.check_finite(&name, to_f32(scales).unwrap_or_default())
    }

    fn check_finite(&self, name: &str, numbers: Vec<f32>) -> Result<Vec<f32>, CheckpointError> {
        match numbers.iter().filter(|x| !x.is_finite()).count() {
            0 => Ok(numbers),
            found => {
                let (path, tensor, total) = (self.path().to_owned(), name.to_owned(), numbers.len());
                Err(CheckpointError::NotFinite { path, tensor, found, total })
            }
        }
    }

    fn wrong_type(&self, tensor: &TensorBytes<'_>) -> CheckpointError {
        self.error(&tensor.name, format!("is of type {:?}", tensor.dtype), "F32, F16, BF16, F64 or I8".to_owned())
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
        let expected = "x: tensor pooling.x is of type I32, expected F32, F16, BF16, F64 or I8";
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
    /// Two rows in 8 bits, whose scales are `scales`.
    fn int8_file(scales: &[f32], dtype: Dtype) -> TensorFile {
        let (entries, scales) =
            ([1_u8, 0xff, 127, 0x80], scales.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        let count = 8 * scales.len() / dtype.bitsize();
        let tensors = vec![
            TensorBytes { name: "x".into(), dtype: Dtype::I8, shape: vec![2, 2], bytes: &entries },
            TensorBytes { name: "x_scale".into(), dtype, shape: vec![count], bytes: &scales },
            TensorBytes { name: "a_scale".into(), dtype: Dtype::F32, shape: vec![1], bytes: &[0; 4] },
        ];
        TensorFile::new(Path::new("x"), serialize(Path::new("x"), &BTreeMap::new(), tensors).unwrap())
    }

    #[test]
    fn rows_in_8_bits_have_scales() {
        let file = int8_file(&[0.5, 2.0], Dtype::F32);
        let tensors = FloatTensors::of_head(&file).unwrap();
        assert_eq!(tensors.get("x", &[2, 2]).unwrap(), [0.5, -0.5, 254.0, -256.0]);
        let rows = tensors.int8("x", [2, 2]).unwrap().unwrap();
        assert_eq!(rows, Int8Rows { entries: vec![1, -1, 127, -128], scales: vec![0.5, 2.0] });
        let mut row = Vec::new();
        tensors.table("x", [2, 2]).unwrap().append_row(1, &mut row);
        assert_eq!(row, [254.0, -256.0]);
        // A tensor without a matrix of that name is a tensor.
        assert_eq!(tensors.get("a_scale", &[1]).unwrap(), [0.0]);
        assert_eq!(tensors.shapes().unwrap().keys().copied().collect::<Vec<_>>(), ["a_scale", "x"]);
    }

    #[test]
    fn scales_that_do_not_fit_are_refused() {
        for (file, message) in [
            (int8_file(&[0.5], Dtype::F32), "x_scale has the shape [1] and the type F32, expected [2] and F32"),
            (int8_file(&[0.5], Dtype::F16), "x_scale has the shape [2] and the type F16, expected [2] and F32"),
            (int8_file(&[0.5, f32::NAN], Dtype::F32), "1 of the 2 values of tensor x_scale are NaN or infinite"),
        ] {
            let tensors = FloatTensors::of_head(&file).unwrap();
            for error in [tensors.get("x", &[2, 2]).unwrap_err(), tensors.table("x", [2, 2]).unwrap_err()] {
                assert!(error.to_string().contains(message), "{error}");
            }
        }
    }
}
