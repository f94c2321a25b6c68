//! Vectors of length 1, for the losses that compare directions.

use tch::Tensor;

/// A shorter row is divided by this instead of its norm, so that a row of zeros stays one instead of becoming NaN: the
/// eps of PyTorch's `normalize`, too small to change a row that says anything. The gradient of such a row is finite,
/// but of the order of 1e12.
const NORM_EPS: f64 = 1e-12;

/// Each row of `xs` `[rows, H]` divided by its norm: x / max(‖x‖, 1e-12).
pub(crate) fn unit(xs: &Tensor) -> Tensor {
    xs / xs.norm_scalaropt_dim(2, -1, true).clamp_min(NORM_EPS)
}
