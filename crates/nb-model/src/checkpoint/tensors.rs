//! Named tensors in a safetensors file: reading with checks, writing beside and renaming.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::host::with_bytes;

/// Reads every tensor of a safetensors file, floating-point ones as f32, integers as they are.
///
/// # Errors
/// If the file cannot be read, is cut or malformed, or holds an element type that no model here uses.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>, ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io("cannot read", path))?;
    let broken = |found: String| ModelError::Weights { path: path.into(), found };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
    let mut out = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let (kind, target) = match view.dtype() {
            Dtype::F32 => (Kind::Float, Kind::Float),
            Dtype::F16 => (Kind::Half, Kind::Float),
            Dtype::BF16 => (Kind::BFloat16, Kind::Float),
            Dtype::F64 => (Kind::Double, Kind::Float),
            Dtype::I64 => (Kind::Int64, Kind::Int64),
            Dtype::I32 => (Kind::Int, Kind::Int),
            other => {
                return Err(broken(format!("tensor {name} is of type {other:?}, expected a float or an integer")));
            }
        };
        // Beside a dimension of 0 another one may be as large as it likes.
        let shape: Vec<i64> =
            view.shape().iter().map(|&d| i64::try_from(d)).collect::<Result<_, _>>().map_err(|_| {
                broken(format!("tensor {name} is of shape {:?}, expected dimensions below 2^63", view.shape()))
            })?;
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?;
        out.push((name.to_owned(), tensor.to_kind(target)));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Writes f32 tensors to a safetensors file: beside it first, then renamed, so that a good file is never half replaced. From
/// the CPU they are written as they lie, without a copy.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let names: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let shapes = tensors.iter().map(|(_, tensor)| tensor.size().iter().map(|&d| d as usize).collect());
    let shapes: Vec<Vec<usize>> = shapes.collect();
    let plain = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let plain: Vec<_> = tensors.iter().map(|(_, tensor)| plain(tensor)).collect();
    // Hugging Face's loader refuses a file that does not say where its tensors come from.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let beside = path.with_extension("safetensors.part");
    let written = with_bytes(&plain, |all| {
        let views = shapes.iter().zip(all).map(|(shape, bytes)| Written { shape, bytes });
        safetensors::serialize_to_file(names.into_iter().zip(views), Some(metadata), &beside)
    });
    written.map_err(|e| match e {
        SafeTensorError::IoError(e) => ModelError::io("cannot write", &beside)(e),
        e => ModelError::Weights { path: path.into(), found: e.to_string() },
    })?;
    std::fs::rename(&beside, path).map_err(ModelError::io("cannot rename to", path))
}

/// A tensor as safetensors asks for it.
struct Written<'a> {
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.bytes.into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
