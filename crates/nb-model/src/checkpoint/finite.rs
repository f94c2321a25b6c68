//! Rejects checkpoints with NaN or infinite weights at load time.

use std::collections::BTreeMap;
use std::path::Path;

use nb_torch::cpu_slices::with_bytes;
use tch::{Kind, Tensor};

use crate::error::ModelError;

/// The exponent's bits of an f32; all of them are set in infinities and NaN, and in nothing else.
const EXPONENT: u32 = 0x7f80_0000;
/// Values that are looked at together: a loop without a branch, which becomes vector instructions.
const BLOCK: usize = 4096;

/// Passes tensors of finite numbers. `path` is for messages.
///
/// # Errors
/// [`ModelError::NotFinite`], naming the first tensor that holds others, and their number.
pub(super) fn check_finite(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), ModelError> {
    for (name, tensor) in tensors {
        let found = count(tensor);
        if found > 0 {
            let (path, tensor, of) = (path.into(), name.clone(), tensor.numel());
            return Err(ModelError::NotFinite { path, tensor, found, of });
        }
    }
    Ok(())
}

/// Entries that are infinite or NaN.
fn count(tensor: &Tensor) -> usize {
    if tensor.kind() != Kind::Float || tensor.device().is_cuda() || !tensor.is_contiguous() {
        let all = usize::try_from(tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]));
        return all.unwrap_or_default();
    }
    with_bytes(std::slice::from_ref(tensor), |all| {
        let values = all[0].as_chunks::<4>().0;
        let is_not_finite = |value: &[u8; 4]| u32::from_ne_bytes(*value) & EXPONENT == EXPONENT;
        let blocks =
            values.chunks(BLOCK).filter(|block| block.iter().fold(false, |any, value| any | is_not_finite(value)));
        blocks.map(|block| block.iter().filter(|value| is_not_finite(value)).count()).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tensor_with_such_entries_is_named_with_their_number() {
        let mut values = vec![f32::MAX; 3 * BLOCK + 5];
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
        values[BLOCK] = f32::INFINITY;
        values[3 * BLOCK + 4] = f32::NEG_INFINITY;
        for view in [Tensor::shallow_clone, |x: &Tensor| x.to_kind(Kind::Double), |x: &Tensor| x.expand([1, -1], false)]
        {
            let error = check(&values, view).unwrap_err();
            let expected =
                "m.safetensors: 3 of the 12293 values of tensor b are NaN or infinite, expected finite numbers";
            assert!(error.starts_with(expected), "{error}");
        }
        // Not in place.
        let error = check(&values, |x| x.view([-1, 1]).expand([-1, 2], false)).unwrap_err();
        assert!(error.contains("6 of the 24586 values"), "{error}");
    }
}
