//! What all losses share: the kind that they compute in, and the division of a sum by its count.

use tch::{Kind, Tensor};

/// The kind that `xs` is computed in: `f32` for 16 bits, else its own.
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

/// `sum` divided by `divisor`, or the 0 of [`zero`] if there is nothing to divide by.
pub(crate) fn mean(sum: &Tensor, divisor: i64, of: &Tensor) -> Tensor {
    if divisor == 0 { zero(of) } else { sum / divisor as f64 }
}

/// A scalar 0 that depends on `of` with a gradient of exactly 0: the sum over none of its rows. (0 · sum would be NaN
/// where an entry is infinite, and a constant would have no backward.)
pub(crate) fn zero(of: &Tensor) -> Tensor {
    of.narrow(0, 0, 0).sum(compute_kind(of))
}
