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
    read_renamed_tensors(path, |names| names.iter().map(|&name| Some(name.to_owned())).collect())
}

/// Reads tensors as [`read_tensors`] does, under the names that `rename` gives to all names of the file. Those without one
/// are skipped and may be of any type.
///
/// # Errors
/// As [`read_tensors`].
pub(super) fn read_renamed_tensors(
    path: &Path,
    rename: impl FnOnce(&[&str]) -> Vec<Option<String>>,
) -> Result<Vec<(String, Tensor)>, ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io("cannot read", path))?;
    let broken = |found: String| ModelError::Weights { path: path.into(), found };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
    let mut names = file.names();
    names.sort_unstable();
    let mut out = Vec::with_capacity(file.len());
    for (name, renamed) in names.iter().zip(rename(&names)) {
        let Some(renamed) = renamed else { continue };
        let view = file.tensor(name).map_err(|e| broken(e.to_string()))?;
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
        out.push((renamed, tensor.to_kind(target)));
    }
    Ok(out)
}

/// Writes f32 tensors to a safetensors file: beside it first, then renamed, so that a good file is never half replaced. From
/// the CPU they are written as they lie, without a copy; from another device one at a time is copied.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let names: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let tensors: Vec<_> = tensors.iter().map(|(_, tensor)| tensor.detach()).collect();
    let shape = |tensor: &Tensor| tensor.size().iter().map(|&d| d as usize).collect();
    let shapes: Vec<Vec<usize>> = tensors.iter().map(shape).collect();
    let beside = path.with_extension("safetensors.part");
    let as_they_lie = tensors.iter().all(|t| t.device() == Device::Cpu && t.kind() == Kind::Float && t.is_contiguous());
    let written = if as_they_lie {
        with_bytes(&tensors, |all| {
            let views = shapes.iter().zip(all).map(|(shape, bytes)| Written { shape, data: move || bytes.into() });
            serialise(names.into_iter().zip(views), &beside)
        })
    } else {
        let data = |tensor: &Tensor| {
            let host = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
            let mut data = vec![0; host.numel() * size_of::<f32>()];
            host.copy_data_u8(&mut data, host.numel());
            data.into()
        };
        let views = shapes.iter().zip(&tensors).map(|(shape, tensor)| Written { shape, data: move || data(tensor) });
        serialise(names.into_iter().zip(views), &beside)
    };
    written.map_err(|e| match e {
        SafeTensorError::IoError(e) => ModelError::io("cannot write", &beside)(e),
        e => ModelError::Weights { path: path.into(), found: e.to_string() },
    })?;
    std::fs::rename(&beside, path).map_err(ModelError::io("cannot rename to", path))
}

fn serialise<'a>(views: impl IntoIterator<Item = (&'a str, impl View)>, path: &Path) -> Result<(), SafeTensorError> {
    // Hugging Face's loader refuses a file that does not say where its tensors come from.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path)
}

/// A tensor of f32 as safetensors asks for it; `data` is asked when its turn comes.
struct Written<'a, F> {
    shape: &'a [usize],
    data: F,
}

impl<'a, F: Fn() -> Cow<'a, [u8]>> View for Written<'a, F> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (self.data)()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_from_tensors_as_they_lie_and_from_copies() {
        let folder = tempfile::tempdir().unwrap();
        let x = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([3, 4]);
        let write = |name: &str, x: Tensor| {
            let path = folder.path().join(name);
            write_tensors(
                &path,
                &[("x".to_owned(), x), ("empty".to_owned(), Tensor::zeros([0], (Kind::Float, Device::Cpu)))],
            )
            .unwrap();
            std::fs::read(path).unwrap()
        };
        let expected = write("a.safetensors", x.shallow_clone());
        assert_eq!(write("b.safetensors", x.tr().contiguous().tr()), expected);
        assert_eq!(write("c.safetensors", x.to_kind(Kind::Double)), expected);
        let found = read_tensors(&folder.path().join("a.safetensors")).unwrap();
        assert!(found[1].0 == "x" && found[1].1.equal(&x));
    }
}
