//! Named tensors in a safetensors file: reading with checks, writing beside and renaming.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use nb_torch::cpu_slices::with_bytes;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

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

/// Writes f32 tensors to a safetensors file: beside it first, then renamed, so that a good file is never half replaced. It
/// gets the permissions of any new file (0666 less the umask), unlike those of `safetensors::serialize_to_file` 0.8, which
/// its owner alone can read. Contiguous tensors on the CPU are written without a copy; others are copied one at a time.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
    let mut tensors: Vec<(&str, Tensor)> = tensors.iter().map(|(name, t)| (name.as_str(), t.detach())).collect();
    tensors.sort_by_key(|&(name, _)| name);
    let header = header(&tensors).map_err(|e| ModelError::Weights { path: path.into(), found: e.to_string() })?;
    let tensors: Vec<Tensor> = tensors.into_iter().map(|(_, tensor)| tensor).collect();
    let beside = path.with_extension("safetensors.part");
    let written = write(&beside, &header, &tensors).map_err(ModelError::io("cannot write", &beside));
    if written.is_err() {
        // The first error is the one to report; a file that was never created cannot be removed.
        let _ = std::fs::remove_file(&beside);
    }
    written.and_then(|()| std::fs::rename(&beside, path).map_err(ModelError::io("cannot rename to", path)))
}

/// The length of the header and the header: the tensors one after the other, at offsets that are multiples of 8 in the file.
fn header(tensors: &[(&str, Tensor)]) -> Result<Vec<u8>, SafeTensorError> {
    let mut end = 0;
    let info = |(name, tensor): &(&str, Tensor)| {
        let start = end;
        end += tensor.numel() * size_of::<f32>();
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        ((*name).to_owned(), TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, end) })
    };
    let tensors = tensors.iter().map(info).collect();
    // Hugging Face's loader refuses a file that does not say where its tensors come from.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut json = serde_json::to_vec(&Metadata::new(Some(metadata), tensors)?)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

fn write(path: &Path, header: &[u8], tensors: &[Tensor]) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(header)?;
    if tensors.iter().all(|t| t.device() == Device::Cpu && t.kind() == Kind::Float && t.is_contiguous()) {
        with_bytes(tensors, |all| all.into_iter().try_for_each(|bytes| file.write_all(bytes)))?;
    } else {
        for tensor in tensors {
            let host = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
            with_bytes(&[host], |all| all.into_iter().try_for_each(|bytes| file.write_all(bytes)))?;
        }
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

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
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left beside the files");
    }

    #[test]
    fn a_file_is_byte_for_byte_that_of_the_safetensors_crate() {
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
    fn a_file_is_readable_like_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        std::fs::write(folder.path().join("plain"), "").unwrap();
        write_tensors(&folder.path().join("w.safetensors"), &[]).unwrap();
        assert_eq!(mode("w.safetensors"), mode("plain"));
    }
}
