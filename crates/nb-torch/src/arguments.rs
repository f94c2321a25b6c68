//! The arguments of operations, other than single tensors.

use tch::Tensor;

/// The tensors that an update changes: lists of equal length with the same shapes, all f32, contiguous and on one device.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// The parameters.
    pub values: &'a [Tensor],
    /// Their gradients; an update multiplies them by the clip factor.
    pub grads: &'a [Tensor],
    /// First moments: moving averages of the gradients.
    pub exp_avg: &'a [Tensor],
    /// Second moments: moving averages of the squared gradients.
    pub exp_avg_sq: &'a [Tensor],
}

/// The hyperparameters of AdamW (Loshchilov and Hutter 2019, algorithm 2).
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
    /// ε, added to the root of the second moment.
    pub epsilon: f64,
}

/// The elementwise function that follows a product in the same kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// No function.
    Nothing,
    /// x·Φ(x) (Hendrycks and Gimpel 2016).
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    Silu,
}

impl Then {
    /// Returns the shim's number for the function.
    pub(crate) fn number(self) -> usize {
        self as usize
    }
}
