//! Dense layers by oneDNN on the CPU.

use tch::{Device, Kind, TchError, Tensor};

use crate::arguments::Then;
use crate::shim;

/// Computes f(x Wᵀ + b) [n, out] from `x` [n, in], `weight` [out, in] and `bias` \[out\] by libtorch's oneDNN. oneDNN uses all
/// of the processor's instructions; libtorch's BLAS may not. `weight` is read in place, even if it is transposed; an `x` whose
/// rows are not contiguous is copied.
///
/// # Errors
/// If shapes or kinds do not match, if a tensor is not in the host's memory, or if libtorch fails, e.g. because it has no
/// oneDNN or the processor has no bf16.
///
/// ```
/// use nb_torch::{Then, onednn_linear};
/// use tch::Tensor;
/// let (x, weight) = (Tensor::from_slice(&[1f32, 2.0]).view([1, 2]), Tensor::from_slice(&[3f32, 4.0]).view([1, 2]));
/// // A libtorch may be built without oneDNN.
/// if let Ok(y) = onednn_linear(&x, &weight, Some(&Tensor::from_slice(&[-15f32])), Then::Relu) {
///     assert_eq!(y.double_value(&[0, 0]), 0.0); // 3 + 8 − 15, clamped to 0
/// }
/// ```
pub fn onednn_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, then: Then) -> Result<Tensor, TchError> {
    let outputs = check(x, weight)?;
    if let Some(bias) = bias {
        check_like("bias", bias, &[outputs], x)?;
    }
    shim::linear(x, weight, bias, then)
}

/// Checks that oneDNN can multiply `x` and `weight`, and returns the number of outputs.
fn check(x: &Tensor, weight: &Tensor) -> Result<i64, TchError> {
    let (_, inputs) = x.size2()?;
    let (outputs, _) = weight.size2()?;
    if !matches!(x.kind(), Kind::Float | Kind::BFloat16) || x.device() != Device::Cpu {
        let (kind, device) = (x.kind(), x.device());
        return Err(TchError::Kind(format!("x is {kind:?} on {device:?}, expected f32 or bf16 on the CPU")));
    }
    check_like("weight", weight, &[outputs, inputs], x)?;
    Ok(outputs)
}

fn check_like(name: &str, tensor: &Tensor, expected: &[i64], x: &Tensor) -> Result<(), TchError> {
    if tensor.size() != expected {
        return Err(TchError::Shape(format!("{name} is {:?}, expected {expected:?}", tensor.size())));
    }
    if tensor.kind() != x.kind() || tensor.device() != x.device() || tensor.is_mkldnn() {
        let (kind, device) = (tensor.kind(), tensor.device());
        return Err(TchError::Kind(format!("{name} is {kind:?} on {device:?}, expected {:?} on the CPU", x.kind())));
    }
    Ok(())
}
