//! AdamW over many tensors at once.

use tch::{Device, Kind, TchError, Tensor};

use crate::shim;

/// What an update changes: as many tensors in each list, of the same shapes, all f32, contiguous and on one device.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// The parameters.
    pub values: &'a [Tensor],
    /// Their gradients; afterwards what they were times the clip.
    pub grads: &'a [Tensor],
    /// First moments.
    pub first: &'a [Tensor],
    /// Second moments.
    pub second: &'a [Tensor],
}

/// The numbers of AdamW (Loshchilov and Hutter 2019, algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters {
    /// Learning rate of this update.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Weight decay λ.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// Update number `step` (from 1) with every gradient times the scalar `clip`, as `torch.optim.AdamW(fused=True)` makes it:
/// p ← p·(1 − lr·λ), m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε).
///
/// A `clip` of 0 says that there is to be no update: then nothing changes, whatever the gradient. The host waits for nothing.
///
/// # Errors
/// If the tensors are not as [`Parameters`] says, and what libtorch says, e.g. where a device has no such kernel.
pub fn fused_adamw(
    parameters: &Parameters<'_>,
    how: &Hyperparameters,
    step: u64,
    clip: &Tensor,
) -> Result<(), TchError> {
    let Parameters { values, grads, first, second } = *parameters;
    let Some(one) = values.first() else { return Ok(()) };
    let device = one.device();
    check(parameters, device)?;
    let step = Tensor::f_full([0_i64; 0], step as f64, (Kind::Float, device))?;
    let clip = clip.f_to_kind(Kind::Float)?.f_to_device(device)?;
    let (scale, skips) = (clip.f_reciprocal()?, clip.f_eq(0.0)?.f_to_kind(Kind::Float)?);
    shim::fused_adamw([values, grads, first, second], [&step, &scale, &skips], how)
}

/// libtorch's kernels trust the lists.
fn check(parameters: &Parameters<'_>, device: Device) -> Result<(), TchError> {
    let Parameters { values, grads, first, second } = *parameters;
    for (name, list) in [("grads", grads), ("first", first), ("second", second)] {
        if list.len() != values.len() {
            return Err(TchError::Shape(format!("{name}: {} tensors, expected {}", list.len(), values.len())));
        }
        for (i, (tensor, value)) in list.iter().zip(values).enumerate() {
            if tensor.size() != value.size() {
                let (found, expected) = (tensor.size(), value.size());
                return Err(TchError::Shape(format!("{name}[{i}] is {found:?}, expected {expected:?}")));
            }
        }
    }
    for (name, list) in [("values", values), ("grads", grads), ("first", first), ("second", second)] {
        for (i, tensor) in list.iter().enumerate() {
            if tensor.kind() != Kind::Float || tensor.device() != device || !tensor.is_contiguous() {
                let (kind, found) = (tensor.kind(), tensor.device());
                let text = format!("{name}[{i}] is {kind:?} on {found:?}, expected contiguous f32 on {device:?}");
                return Err(TchError::Kind(text));
            }
        }
    }
    Ok(())
}
