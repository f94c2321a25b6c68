//! Products of bf16 by oneDNN on the CPU, where the processor has instructions for them and [`super::dots`] takes none: on
//! processors with AMX, and for matrices of odd widths.
//!
//! libtorch itself goes by oneDNN in bf16, but by another of its operations, which takes up to a tenth longer. The sums run in
//! another order.

use std::sync::LazyLock;

use nb_torch::{Then, onednn_linear};
use tch::{Device, Kind, TchError, Tensor};

use super::FEWEST_ROWS;

/// Whether the processor has instructions for bf16, and libtorch oneDNN.
static PAYS: LazyLock<bool> = LazyLock::new(|| has_bf16() && works());

/// Whether libtorch has oneDNN, and that these products.
fn works() -> bool {
    let zeros = Tensor::zeros([1, 1], (Kind::BFloat16, Device::Cpu));
    onednn_linear(&zeros, &zeros, None, Then::Nothing).is_ok()
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

/// Whether the products of rows `x` [n, in] belong here.
pub(crate) fn pays(x: &Tensor) -> bool {
    x.size()[0] >= FEWEST_ROWS && x.device() == Device::Cpu && x.kind() == Kind::BFloat16 && *PAYS
}

/// f(`x` Wᵀ + b), [n, out].
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor, then: Then) -> Tensor {
    there(onednn_linear(x, weight, Some(bias), then))
}

/// dL/dx [n, in] from dL/dy `grad` [n, out].
pub(crate) fn input_grad(grad: &Tensor, weight: &Tensor) -> Tensor {
    there(onednn_linear(grad, &weight.tr(), None, Then::Nothing))
}

/// What has worked once, and is of fitting shapes, works.
fn there(product: Result<Tensor, TchError>) -> Tensor {
    product.unwrap_or_else(|e| panic!("a product by oneDNN: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between −1 and 1 that no other test's random generator can disturb.
    fn numbers(size: [i64; 2], shift: f64) -> Tensor {
        let all = (Tensor::arange(size[0] * size[1], (Kind::Float, Device::Cpu)) * 0.7 + shift).sin();
        all.view(size).to_kind(Kind::BFloat16)
    }

    /// A number is off by 2⁻⁸ of itself at most in bf16, before the activation and after it.
    #[track_caller]
    fn assert_close(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size());
        let scale = expected.abs().max().double_value(&[]);
        let off = (found.to_kind(Kind::Float) - expected).abs().max().double_value(&[]);
        assert!(off < 2.0 / 256.0 * scale, "off by {off} of {scale}");
    }

    /// Also where others are faster.
    #[test]
    fn products_and_gradients_are_those_of_f32_rounded() {
        if !*PAYS {
            return; // where `pays` is never true
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
    fn few_rows_other_kinds_and_other_processors_stay_with_libtorch() {
        let rows = numbers([FEWEST_ROWS, 4], 0.0);
        assert!(!pays(&numbers([FEWEST_ROWS - 1, 4], 0.0)));
        assert!(!pays(&rows.to_kind(Kind::Float)) && !pays(&rows.to_kind(Kind::Double)));
        assert_eq!(pays(&rows), *PAYS);
    }
}
