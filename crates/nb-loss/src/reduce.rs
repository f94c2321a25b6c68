//! Code shared by all losses: the kind in which they compute, and the division of a sum by its count.

use tch::{Kind, Tensor};

/// Returns the kind in which a loss of `xs` is computed: `f32` for 16 bits, otherwise the kind of `xs`.
#[track_caller]
pub(crate) fn compute_kind(xs: &Tensor) -> Kind {
    match xs.kind() {
        Kind::Half | Kind::BFloat16 | Kind::Float => Kind::Float,
        Kind::Double => Kind::Double,
        other => {
            panic!("a tensor of kind {other:?} was given to a loss, expected a floating-point kind")
        }
    }
}

/// Returns `sum` divided by `divisor`, or the 0 of [`zero`] if `divisor` is 0.
pub(crate) fn mean(sum: &Tensor, divisor: i64, of: &Tensor) -> Tensor {
    if divisor == 0 { zero(of) } else { sum / divisor as f64 }
}

/// Returns a scalar 0 that depends on `of` with a gradient of exactly 0: the sum over none of its rows. (0 · sum would be NaN
/// if an entry is infinite, and a constant would have no backward pass.)
pub(crate) fn zero(of: &Tensor) -> Tensor {
    of.narrow(0, 0, 0).sum(compute_kind(of))
}
