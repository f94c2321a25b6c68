//! AdamW over many tensors at once.

use tch::{Device, Kind, TchError, Tensor};

use crate::arguments::{Hyperparameters, Parameters};
use crate::shim;

/// Performs update number `step` (from 1) with every gradient multiplied by the scalar `clip`, as
/// `torch.optim.AdamW(fused=True)` does:
/// p ← p·(1 − lr·λ), m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε).
///
/// A `clip` of 0 skips the update: nothing changes, even if a gradient is NaN. The host does not wait for the device.
///
/// # Errors
/// If the tensors are not as [`Parameters`] requires, or if libtorch fails, e.g. because the device has no such kernel.
pub fn fused_adamw(
    parameters: &Parameters<'_>,
    hyperparameters: &Hyperparameters,
    step: u64,
    clip: &Tensor,
) -> Result<(), TchError> {
    let Some(first) = parameters.values.first() else { return Ok(()) };
    let device = first.device();
    check(parameters, device)?;
    let step = Tensor::f_full([0_i64; 0], step as f64, (Kind::Float, device))?;
    let clip = clip.f_to_kind(Kind::Float)?.f_to_device(device)?;
    let grad_scale = clip.f_reciprocal()?;
    let found_inf = clip.f_eq(0.0)?.f_to_kind(Kind::Float)?;
    shim::fused_adamw(parameters, &step, &grad_scale, &found_inf, hyperparameters)
}

/// Checks the lists, since libtorch's kernels do not.
fn check(parameters: &Parameters<'_>, device: Device) -> Result<(), TchError> {
    let Parameters { values, grads, exp_avg, exp_avg_sq } = *parameters;
    for (name, list) in [("grads", grads), ("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)] {
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
    for (name, list) in [("values", values), ("grads", grads), ("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)] {
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
