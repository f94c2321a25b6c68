//! Helpers for the tests: plain numbers from tensors, gradients by autograd and by finite differences, random inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use tch::{Kind, Tensor};

/// All entries, in order.
pub(crate) fn values(xs: &Tensor) -> Vec<f64> {
    Vec::try_from(xs.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

/// The value of a scalar.
pub(crate) fn value(x: &Tensor) -> f64 {
    assert_eq!(x.size(), [0i64; 0], "a loss is a scalar");
    x.double_value(&[])
}

/// The norm of the shortest row.
pub(crate) fn shortest(rows: &Tensor) -> f64 {
    rows.norm_scalaropt_dim(2, -1, false).min().double_value(&[])
}

/// Checks that entries agree to `tolerance`, relative to the largest expected entry if that is above 1.
#[track_caller]
pub(crate) fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0, |scale: f64, entry| scale.max(entry.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= tolerance * scale, "found {found:?}, expected {expected:?}");
    }
}

/// ∂loss/∂x by autograd.
pub(crate) fn gradient(loss: impl Fn(&Tensor) -> Tensor, x: &Tensor) -> Tensor {
    let leaf = x.copy().set_requires_grad(true);
    loss(&leaf).backward();
    leaf.grad()
}

/// ∂loss/∂x by central differences in f64. The truncation error is h²/6 times a third derivative of order 1, and the
/// rounding error is about 1e-16/h, so 1e-8 is well above both at h = 1e-5.
pub(crate) fn finite_differences(loss: impl Fn(&Tensor) -> Tensor, x: &Tensor) -> Vec<f64> {
    const H: f64 = 1e-5;
    assert_eq!(x.kind(), Kind::Double);
    let at = |entry: usize, shift: f64| {
        let mut moved = values(x);
        moved[entry] += shift;
        value(&loss(&Tensor::from_slice(&moved).view_as(x)))
    };
    (0..x.numel()).map(|entry| (at(entry, H) - at(entry, -H)) / (2.0 * H)).collect()
}

/// The message with which `call` panics.
pub(crate) fn panic_of(call: impl FnOnce() -> Tensor) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("no panic");
    panic.downcast_ref::<String>().expect("a message").clone()
}

/// A matrix of shape `[1..5, 2..6]` with numbers within ±3, in f64.
pub(crate) fn matrix() -> impl Strategy<Value = Tensor> {
    (1i64..5, 2i64..6).prop_flat_map(|(rows, columns)| {
        prop::collection::vec(-3.0f64..3.0, (rows * columns) as usize)
            .prop_map(move |entries| Tensor::from_slice(&entries).view([rows, columns]))
    })
}

/// Two matrices of the same shape.
pub(crate) fn matrix_pair() -> impl Strategy<Value = (Tensor, Tensor)> {
    (1i64..5, 2i64..6).prop_flat_map(|(rows, columns)| {
        prop::collection::vec(-3.0f64..3.0, (2 * rows * columns) as usize).prop_map(move |entries| {
            let both = Tensor::from_slice(&entries).view([2, rows, columns]);
            (both.get(0), both.get(1))
        })
    })
}
