//! Vectors of length 1, for the losses that compare directions.

use tch::Tensor;

/// The least divisor: a row with a smaller norm is divided by this, so that a row of zeros stays 0 instead of becoming NaN.
/// It is the eps of PyTorch's `normalize`, too small to change any other row. The gradient of such a row is finite, but of
/// the order of 1e12.
const NORM_EPS: f64 = 1e-12;

/// Divides each row of `xs` `[rows, H]` by its norm: x / max(‖x‖, 1e-12).
pub(crate) fn unit(xs: &Tensor) -> Tensor {
    xs / xs.norm_scalaropt_dim(2, -1, true).clamp_min(NORM_EPS)
}
