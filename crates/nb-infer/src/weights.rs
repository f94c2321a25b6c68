//! Named numbers from safetensors files: floats of any width, or 8 bits with a scale per row.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use nb_checkpoint::{CheckpointError, Dtype, TensorBytes, TensorFile};

use crate::error::InferError;
use crate::table::{Numbers, Table};

/// The end of the name of the scales of a tensor in 8 bits, after the tensor's name.
const SCALE_SUFFIX: &str = "_scale";

/// The tensors of a file, by name.
pub(crate) struct Weights<'a> {
    file: &'a Arc<TensorFile>,
    tensors: BTreeMap<String, TensorBytes<'a>>,
    /// The scales of the rows of tensors in 8 bits, by the tensor's name.
    scales: BTreeMap<String, TensorBytes<'a>>,
}

/// Weights in 8 bits, with a scale for each row.
pub(crate) struct Int8Rows {
    pub(crate) entries: Vec<i8>,
    pub(crate) scales: Vec<f32>,
}

impl<'a> Weights<'a> {
    /// Returns the encoder's tensors, under their current names.
    pub(crate) fn of_encoder(file: &'a Arc<TensorFile>) -> Result<Self, CheckpointError> {
        Ok(Self::new(file, file.encoder_tensors()?))
    }

    /// Returns all tensors.
    pub(crate) fn of_head(file: &'a Arc<TensorFile>) -> Result<Self, CheckpointError> {
        Ok(Self::new(file, file.tensors()?))
    }

    fn new(file: &'a Arc<TensorFile>, all: Vec<TensorBytes<'a>>) -> Self {
        let (mut tensors, mut scales) = (BTreeMap::new(), BTreeMap::new());
        for tensor in all {
            match tensor.name.strip_suffix(SCALE_SUFFIX).map(str::to_owned) {
                Some(name) => scales.insert(name, tensor),
                None => tensors.insert(tensor.name.clone(), tensor),
            };
        }
        Self { file, tensors, scales }
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
        let tensor = self.find(name, shape)?;
        if tensor.dtype == Dtype::I8 {
            let Int8Rows { entries, scales } = self.rows(tensor)?;
            let columns = entries.len() / scales.len();
            let rows = entries.chunks_exact(columns).zip(scales);
            return Ok(rows.flat_map(|(row, scale)| row.iter().map(move |&entry| f32::from(entry) * scale)).collect());
        }
        let numbers = to_f32(tensor).ok_or_else(|| self.wrong_type(tensor))?;
        self.check_finite(name, numbers)
    }

    /// Returns a tensor in 8 bits, row by row; `None` if it is not in 8 bits.
    pub(crate) fn int8(&self, name: &str, shape: &[usize]) -> Result<Option<Int8Rows>, InferError> {
        let tensor = self.find(name, shape)?;
        if tensor.dtype == Dtype::I8 { self.rows(tensor).map(Some) } else { Ok(None) }
    }

    /// Returns a matrix whose rows stay in the file until they are read.
    pub(crate) fn table(&self, name: &str, shape: [usize; 2]) -> Result<Table, InferError> {
        let tensor = self.find(name, &shape)?;
        let numbers = match tensor.dtype {
            Dtype::F32 => Numbers::F32,
            Dtype::F16 => Numbers::F16,
            Dtype::BF16 => Numbers::Bf16,
            Dtype::F64 => Numbers::F64,
            Dtype::I8 => Numbers::Int8(self.row_scales(tensor)?),
            _ => return Err(self.wrong_type(tensor)),
        };
        Ok(Table::new(Arc::clone(self.file), self.file.range(tensor), numbers, shape[1]))
    }

    /// Finds a tensor of this shape.
    fn find(&self, name: &str, shape: &[usize]) -> Result<&TensorBytes<'a>, InferError> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor),
            Some(tensor) => Err(self.differs(name, format!("has the shape {:?}", tensor.shape), format!("{shape:?}"))),
            None => Err(self.differs(name, "is missing".to_owned(), format!("shape {shape:?}"))),
        }
    }

    /// Returns the rows of a tensor in 8 bits.
    fn rows(&self, tensor: &TensorBytes<'_>) -> Result<Int8Rows, InferError> {
        Ok(Int8Rows {
            entries: tensor.bytes.iter().map(|&byte| byte.cast_signed()).collect(),
            scales: self.row_scales(tensor)?,
        })
    }

    /// Returns the scales of a matrix in 8 bits.
    fn row_scales(&self, tensor: &TensorBytes<'_>) -> Result<Vec<f32>, InferError> {
        let (name, rows) = (format!("{}{SCALE_SUFFIX}", tensor.name), tensor.shape.first().copied().unwrap_or(0));
        let Some(scales) = self.scales.get(&tensor.name) else {
            return Err(self.differs(
                &name,
                "is missing".to_owned(),
                format!("{rows} scales of tensor {}", tensor.name),
            ));
        };
        if scales.shape != [rows] || scales.dtype != Dtype::F32 || tensor.shape.len() != 2 || tensor.bytes.is_empty() {
            let found = format!("is of shape {:?} and type {:?}", scales.shape, scales.dtype);
            return Err(self.differs(&name, found, format!("shape [{rows}] and type F32")));
        }
        self.check_finite(&name, to_f32(scales).unwrap_or_default())
    }

    fn check_finite(&self, name: &str, numbers: Vec<f32>) -> Result<Vec<f32>, InferError> {
        match numbers.iter().filter(|x| !x.is_finite()).count() {
            0 => Ok(numbers),
            found => {
                let (path, tensor, total) = (self.path().to_owned(), name.to_owned(), numbers.len());
                Err(CheckpointError::NotFinite { path, tensor, found, total }.into())
            }
        }
    }

    fn wrong_type(&self, tensor: &TensorBytes<'_>) -> InferError {
        self.differs(&tensor.name, format!("is of type {:?}", tensor.dtype), "F32, F16, BF16, F64 or I8".to_owned())
    }

    fn differs(&self, name: &str, found: String, expected: String) -> InferError {
        InferError::Tensor { path: self.path().to_owned(), name: name.to_owned(), found, expected }
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
