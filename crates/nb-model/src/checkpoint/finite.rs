//! The check for weights that are NaN or infinite.

use std::collections::BTreeMap;
use std::path::Path;

use nb_checkpoint::{CheckpointError, count_non_finite};
use tch::{Kind, Tensor};

use nb_torch::cpu_slices::with_bytes;

/// Checks that all values are finite numbers. `path` is used in messages.
///
/// # Errors
/// [`CheckpointError::NotFinite`] with the name of the first tensor that has non-finite values, and their number.
pub(super) fn check_finite(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), CheckpointError> {
    for (name, tensor) in tensors {
        let found = count(tensor);
        if found > 0 {
            let (tensor, total) = (name.clone(), tensor.numel());
            return Err(CheckpointError::NotFinite { path: path.into(), tensor, found, total });
        }
    }
    Ok(())
}

/// Returns the number of values that are infinite or NaN.
fn count(tensor: &Tensor) -> usize {
    if tensor.kind() != Kind::Float || tensor.device().is_cuda() || !tensor.is_contiguous() {
        let all = usize::try_from(tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]));
        return all.unwrap_or_default();
    }
    with_bytes(std::slice::from_ref(tensor), |all| count_non_finite(all[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_first_non_finite_tensor_and_counts_its_values() {
        let mut values = vec![f32::MAX; 12293];
        values[1] = f32::MIN_POSITIVE / 2.0;
        values[2] = -0.0;
        let check = |values: &[f32], view: fn(&Tensor) -> Tensor| {
            let tensors = BTreeMap::from([
                ("a".to_owned(), Tensor::from_slice(&[1f32])),
                ("b".to_owned(), view(&Tensor::from_slice(values))),
            ]);
            check_finite(&tensors, Path::new("m.safetensors")).map_err(|error| error.to_string())
        };
        assert_eq!(check(&values, Tensor::shallow_clone), Ok(()));
        assert_eq!(check(&[], Tensor::shallow_clone), Ok(()));
        values[0] = f32::NAN;
        values[4096] = f32::INFINITY;
        values[12292] = f32::NEG_INFINITY;
        for view in [Tensor::shallow_clone, |x: &Tensor| x.to_kind(Kind::Double), |x: &Tensor| x.expand([1, -1], false)]
        {
            let error = check(&values, view).unwrap_err();
            let expected =
                "m.safetensors: 3 of the 12293 values of tensor b are NaN or infinite, expected finite numbers";
            assert!(error.starts_with(expected), "{error}");
        }
        // A view that is not contiguous.
        let error = check(&values, |x| x.view([-1, 1]).expand([-1, 2], false)).unwrap_err();
        assert!(error.contains("6 of the 24586 values"), "{error}");
    }
}
