//! Dense layers by oneDNN on the CPU.

use tch::{Device, Kind, TchError, Tensor};

use crate::shim;

/// What follows a product in the same kernel, entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// x·Φ(x) (Hendrycks and Gimpel 2016).
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    Silu,
}

impl Then {
    /// The number that the shim knows it by.
    pub(crate) fn number(self) -> usize {
        self as usize
    }
}

/// f(x Wᵀ + b) [n, out] from `x` [n, in], `weight` [out, in] and `bias` \[out\], by libtorch's oneDNN, which asks the processor what
/// it can do, where libtorch's BLAS may not. `weight` is read as it lies, also transposed; an `x` whose rows do not lie one after the
/// other is copied.
///
/// # Errors
/// If shapes or kinds do not fit, if a tensor does not lie in the host's memory, and what libtorch says, e.g. if it has no oneDNN
/// or this processor no bf16.
///
/// ```
/// use nb_torch::{Then, onednn_linear};
/// use tch::Tensor;
/// let (x, weight) = (Tensor::from_slice(&[1f32, 2.0]).view([1, 2]), Tensor::from_slice(&[3f32, 4.0]).view([1, 2]));
/// // A libtorch may be built without oneDNN.
/// if let Ok(y) = onednn_linear(&x, &weight, Some(&Tensor::from_slice(&[-15f32])), Then::Relu) {
///     assert_eq!(y.double_value(&[0, 0]), 0.0); // 3 + 8 − 15, cut off
/// }
/// ```
pub fn onednn_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, then: Then) -> Result<Tensor, TchError> {
    let outputs = check(x, weight)?;
    if let Some(bias) = bias {
        check_like("bias", bias, &[outputs], x)?;
    }
    shim::linear(x, weight, bias, then)
}

/// Passes what oneDNN can multiply; returns the number of outputs.
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
