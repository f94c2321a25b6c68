//! Named tensors in a safetensors file: reading with checks, writing beside and renaming.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

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
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?;
        out.push((name.to_owned(), tensor.to_kind(target)));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Writes f32 tensors to a safetensors file: beside it first, then renamed, so that a good file is never half replaced.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let host = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
            let mut data = vec![0; host.numel() * std::mem::size_of::<f32>()];
            host.f_copy_data_u8(&mut data, host.numel())?;
            Ok((name.as_str(), host.size().iter().map(|&d| d as usize).collect(), data))
        })
        .collect::<Result<_, tch::TchError>>()?;
    let malformed = |e: safetensors::SafeTensorError| ModelError::Weights { path: path.into(), found: e.to_string() };
    let views: Vec<(&str, TensorView)> = bytes
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<_, _>>()
        .map_err(malformed)?;
    // Hugging Face's loader refuses a file that does not say where its tensors come from.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(malformed)?;
    let beside = path.with_extension("safetensors.part");
    std::fs::write(&beside, file).map_err(ModelError::io("cannot write", &beside))?;
    std::fs::rename(&beside, path).map_err(ModelError::io("cannot rename to", path))
}
