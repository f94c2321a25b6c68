//! Named tensors in a safetensors file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use nb_checkpoint::{CheckpointError, Dtype, Header, TensorBytes, TensorFile, write_tensor_file};
use nb_torch::cpu_slices::with_bytes;
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// Reads every tensor of a safetensors file, by name: floats as f32, integers in their stored type.
///
/// # Errors
/// If the file cannot be read, is cut short or malformed, or has an element type that no model here uses.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let file = TensorFile::read(path)?;
    tensors_of(file.tensors()?, |found| file.damaged(found))
}

/// Converts some tensors as [`read_tensors`] does. `damaged` returns an error about their file.
///
/// # Errors
/// If one has an element type that no model here uses, or a dimension of 2^63 or more.
pub(super) fn tensors_of(
    tensors: Vec<TensorBytes<'_>>,
    damaged: impl Fn(String) -> CheckpointError,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let mut converted = BTreeMap::new();
    for tensor in tensors {
        let TensorBytes { name, dtype, shape, bytes } = &tensor;
        let kind = kind(*dtype)
            .ok_or_else(|| damaged(format!("tensor {name} is of type {dtype:?}, expected a float or an integer")))?;
        let size = tensor
            .signed_shape()
            .ok_or_else(|| damaged(format!("tensor {name} is of shape {shape:?}, expected dimensions below 2^63")))?;
        let values = Tensor::f_from_data_size(bytes, &size, kind)?;
        let is_integer = matches!(kind, Kind::Int64 | Kind::Int);
        converted.insert(tensor.name, if is_integer { values } else { values.to_kind(Kind::Float) });
    }
    Ok(converted)
}

/// Returns the tensor kind of an element type, if a model here uses it.
fn kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F64 => Some(Kind::Double),
        Dtype::I64 => Some(Kind::Int64),
        Dtype::I32 => Some(Kind::Int),
        _ => None,
    }
}

/// Writes f32 tensors to a safetensors file, by name. The file appears complete or not at all, with the permissions of any new
/// file. Contiguous tensors on the CPU are written without a copy; others are copied one at a time.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let mut tensors: Vec<(&str, Tensor)> = tensors.iter().map(|(name, t)| (name.as_str(), t.detach())).collect();
    tensors.sort_by_key(|&(name, _)| name);
    let mut header = Header::of_model();
    for (name, tensor) in &tensors {
        let shape: Vec<usize> = tensor.size().iter().map(|&size| size as usize).collect();
        header.push(name, Dtype::F32, &shape);
    }
    let tensors: Vec<Tensor> = tensors.into_iter().map(|(_, tensor)| tensor).collect();
    Ok(write_tensor_file(path, &header, |out| write_values(out, &tensors))?)
}

/// Writes the values of tensors, one tensor after the other.
fn write_values(out: &mut (impl Write + Sync), tensors: &[Tensor]) -> io::Result<()> {
    if tensors.iter().all(|t| t.device() == Device::Cpu && t.kind() == Kind::Float && t.is_contiguous()) {
        return with_bytes(tensors, |all| all.into_iter().try_for_each(|bytes| out.write_all(bytes)));
    }
    for tensor in tensors {
        let copy = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        with_bytes(&[copy], |all| all.into_iter().try_for_each(|bytes| out.write_all(bytes)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn contiguous_tensors_and_copies_give_the_same_file() {
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
        assert!(found.len() == 2 && found["x"].equal(&x));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no other files are left");
    }

    #[test]
    fn a_file_matches_the_safetensors_crate_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (b, a) = (Tensor::from_slice(&[1f32, -2.5]), Tensor::from_slice(&[0.5f32, 3.0, 7.0]).view([3, 1]));
        let path = folder.path().join("ours.safetensors");
        write_tensors(&path, &[("b".to_owned(), b), ("a \"é\"".to_owned(), a)]).unwrap();
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let (b, a) = (bytes(&[1.0, -2.5]), bytes(&[0.5, 3.0, 7.0]));
        let view = |shape: &[usize], data| TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
        let views = [("b", view(&[2], &b)), ("a \"é\"", view(&[3, 1], &a))];
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        assert_eq!(std::fs::read(&path).unwrap(), safetensors::serialize(views, Some(metadata)).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        std::fs::write(folder.path().join("plain"), "").unwrap();
        write_tensors(&folder.path().join("w.safetensors"), &[]).unwrap();
        assert_eq!(mode("w.safetensors"), mode("plain"));
    }
}
