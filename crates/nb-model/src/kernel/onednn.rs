//! bf16 products by oneDNN on the CPU, where the processor has instructions for them and [`super::gemm`] selects no kernel: on
//! processors with AMX, and for matrices of odd widths.
//!
//! libtorch itself uses oneDNN for bf16, but through another operation, which takes up to a tenth longer and sums in another
//! order.

use std::sync::LazyLock;

use nb_torch::{Then, onednn_linear};
use tch::{Device, Kind, TchError, Tensor};

use super::{FEWEST_ROWS, pieces};

/// True if the processor has instructions for bf16, and libtorch has oneDNN.
static IS_AVAILABLE: LazyLock<bool> = LazyLock::new(|| nb_cpu::has_avx512bf16() && works());

/// Returns true if libtorch has oneDNN, and oneDNN supports these products.
fn works() -> bool {
    let zeros = Tensor::zeros([1, 1], (Kind::BFloat16, Device::Cpu));
    onednn_linear(&zeros, &zeros, None, Then::Nothing).is_ok()
}

/// Returns true if oneDNN is the fastest for products of rows `x` [n, in] for which [`super::gemm`] selects no kernel.
pub(crate) fn is_faster(x: &Tensor) -> bool {
    x.size()[0] >= FEWEST_ROWS && x.device() == Device::Cpu && x.kind() == Kind::BFloat16 && *IS_AVAILABLE
}

/// Computes f(`x` Wᵀ + b), [n, out].
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor, then: Then) -> Tensor {
    let operands = |first, count| [weight, bias].map(|rows| rows.narrow(0, first, count));
    pieces::columns(x, weight.size()[0], operands, |x, [weight, bias]| {
        expect_ok(onednn_linear(x, weight, Some(bias), then))
    })
}

/// Computes dL/dx [n, in] from dL/dy `grad` [n, out].
pub(crate) fn input_grad(grad: &Tensor, weight: &Tensor) -> Tensor {
    let operands = |first, count| [weight.narrow(1, first, count).tr()];
    pieces::columns(grad, weight.size()[1], operands, |grad, [weight]| {
        expect_ok(onednn_linear(grad, weight, None, Then::Nothing))
    })
}

/// Unwraps a product. With fitting shapes it does not fail once [`works`] has succeeded.
fn expect_ok(product: Result<Tensor, TchError>) -> Tensor {
    product.unwrap_or_else(|e| panic!("a product by oneDNN: {e}"))
}

#[cfg(test)]
mod tests {
    use nb_testing::{has_avx512bf16, require, tensor_wave};

    use super::*;

    fn numbers(size: [i64; 2], shift: f64) -> Tensor {
        tensor_wave(&size, shift, Device::Cpu).to_kind(Kind::BFloat16)
    }

    /// Allows a relative error of 2⁻⁸ in bf16, once before and once after the activation.
    #[track_caller]
    fn assert_close(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size());
        let scale = expected.abs().max().double_value(&[]);
        let off = (found.to_kind(Kind::Float) - expected).abs().max().double_value(&[]);
        assert!(off < 2.0 / 256.0 * scale, "off by {off} of {scale}");
    }

    /// Runs even where other kernels are faster.
    #[test]
    fn products_and_gradients_match_f32_rounded() {
        // With oneDNN, libtorch has this operation; without it, there is no kernel for it.
        if !require("avx512bf16", has_avx512bf16()) || !require("onednn", works()) {
            return;
        }
        for [n, k, m] in [[1, 5, 3], [64, 48, 80], [131, 96, 33]] {
            let (x, weight, bias) = (numbers([n, k], 0.0), numbers([m, k], 1.0), numbers([1, m], 2.0).view([m]));
            let wide = |x: &Tensor| x.to_kind(Kind::Float);
            let y = wide(&x).linear(&wide(&weight), Some(&wide(&bias)));
            assert_close(&forward(&x, &weight, &bias, Then::Nothing), &y);
            assert_close(&forward(&x, &weight, &bias, Then::Gelu), &y.gelu("none"));
            let grad = numbers([n, m], 3.0);
            assert_close(&input_grad(&grad, &weight), &wide(&grad).matmul(&wide(&weight)));
        }
    }

    #[test]
    fn few_rows_other_kinds_and_other_processors_are_left_to_libtorch() {
        let rows = numbers([FEWEST_ROWS, 4], 0.0);
        assert!(!is_faster(&numbers([FEWEST_ROWS - 1, 4], 0.0)));
        assert!(!is_faster(&rows.to_kind(Kind::Float)) && !is_faster(&rows.to_kind(Kind::Double)));
        assert_eq!(is_faster(&rows), *IS_AVAILABLE);
    }
}
