//! Products by oneDNN on the CPU, where it knows the processor better than libtorch's usual ways do.
//!
//! libtorch multiplies f32 matrices by MKL, which takes AVX-512 on Intel's processors alone; on others it stays with the
//! half as wide registers of AVX2. oneDNN, which libtorch brings along, asks for what the processor can: on a Zen 5 its
//! products take half of MKL's time. In bf16 libtorch itself goes by oneDNN, but by another of its operations, which on a Zen 5
//! takes up to a tenth longer (most of bf16 belongs to [`super::dots`] there; what is left, and processors with AMX, to this
//! file). The sums run in another order; those of f32 are f32 throughout.

use std::sync::LazyLock;

use nb_torch::{Then, onednn_linear, onednn_linear_onto};
use tch::{Device, Kind, TchError, Tensor};

use super::FEWEST_ROWS;

/// Whether products of f32 belong here: the processor has AVX-512 and is not Intel's.
static PAYS_F32: LazyLock<bool> = LazyLock::new(|| has_unused_avx512() && works(Kind::Float));
/// Whether products of bf16 do: the processor has instructions for them.
static PAYS_BF16: LazyLock<bool> = LazyLock::new(|| has_bf16() && works(Kind::BFloat16));

/// Whether libtorch has oneDNN, and that these products.
fn works(kind: Kind) -> bool {
    let zeros = Tensor::zeros([1, 1], (kind, Device::Cpu));
    onednn_linear(&zeros, &zeros, None, Then::Nothing).is_ok()
}

#[cfg(target_arch = "x86_64")]
fn has_unused_avx512() -> bool {
    /// "Genu", the first letters of the vendor's name.
    const INTEL: u32 = u32::from_le_bytes(*b"Genu");
    std::is_x86_feature_detected!("avx512f") && std::arch::x86_64::__cpuid(0).ebx != INTEL
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_unused_avx512() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

/// Whether the products of rows `x` [n, in] belong here.
pub(crate) fn pays(x: &Tensor) -> bool {
    x.size()[0] >= FEWEST_ROWS
        && x.device() == Device::Cpu
        && match x.kind() {
            Kind::Float => *PAYS_F32,
            Kind::BFloat16 => *PAYS_BF16,
            _ => false,
        }
}

/// f(`x` Wᵀ + b), [n, out].
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor, then: Then) -> Tensor {
    there(onednn_linear(x, weight, Some(bias), then))
}

/// `x` Wᵀ + b, [n, out], by autograd.
pub(crate) fn recorded(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    x.to_mkldnn().mkldnn_linear(weight, Some(bias)).to_dense(None::<Kind>, false)
}

/// dL/dx [n, in] from dL/dy `grad` [n, out].
pub(crate) fn input_grad(grad: &Tensor, weight: &Tensor) -> Tensor {
    there(onednn_linear(grad, &weight.tr(), None, Then::Nothing))
}

/// The same added to `residual` [n, in], of the same kind.
pub(crate) fn input_grad_onto(residual: &Tensor, grad: &Tensor, weight: &Tensor) -> Tensor {
    there(onednn_linear_onto(residual, grad, &weight.tr()))
}

/// dL/dW [out, in] and dL/db \[out\] from dL/dy `grad` [n, out] and the input `x` [n, in], f32.
pub(crate) fn parameter_grads(grad: &Tensor, x: &Tensor, weight: &Tensor) -> (Tensor, Tensor) {
    let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
    if inputs > outputs {
        // The narrower of the two is what has to be copied.
        let product = there(onednn_linear(&grad.tr(), &x.tr(), None, Then::Nothing));
        return (product, grad.sum_dim_intlist(0, false, Kind::Float));
    }
    let blocked = |x: &Tensor| x.contiguous().to_mkldnn();
    let (weight_grad, bias_grad) = blocked(x).mkldnn_linear_backward_weights(&blocked(grad), weight, true);
    (dense(&weight_grad), dense(&bias_grad))
}

/// A tensor of oneDNN's own as one of libtorch's; one of libtorch's as it is.
fn dense(x: &Tensor) -> Tensor {
    if x.is_mkldnn() { x.to_dense(None::<Kind>, false) } else { x.shallow_clone() }
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
        ((Tensor::arange(size[0] * size[1], (Kind::Float, Device::Cpu)) * 0.7 + shift).sin()).view(size)
    }

    #[track_caller]
    fn assert_close(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size());
        let scale = expected.abs().max().double_value(&[]);
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < 1e-5 * scale, "off by {off} of {scale}");
    }

    /// On every processor: whether it pays is another question.
    #[test]
    fn products_and_gradients_are_those_of_libtorchs_blas() {
        if !works(Kind::Float) {
            return; // a libtorch without oneDNN, where `pays` is never true
        }
        for [n, k, m] in [[1, 5, 3], [64, 48, 80], [131, 96, 33]] {
            let (x, weight, bias) = (numbers([n, k], 0.0), numbers([m, k], 1.0), numbers([1, m], 2.0).view([m]));
            let y = x.linear(&weight, Some(&bias));
            assert_close(&forward(&x, &weight, &bias, Then::Nothing), &y);
            assert_close(&forward(&x, &weight, &bias, Then::Gelu), &y.gelu("none"));
            let (grad, residual) = (numbers([n, m], 3.0), numbers([n, k], 4.0));
            let input = grad.matmul(&weight);
            assert_close(&input_grad(&grad, &weight), &input);
            assert_close(&input_grad_onto(&residual, &grad, &weight), &(&input + &residual));
            let (weight_grad, bias_grad) = parameter_grads(&grad, &x, &weight);
            assert_close(&weight_grad, &grad.tr().matmul(&x));
            assert_close(&bias_grad, &grad.sum_dim_intlist(0, false, Kind::Float));
        }
    }

    #[test]
    fn few_rows_other_kinds_and_other_processors_stay_with_libtorch() {
        let rows = numbers([FEWEST_ROWS, 4], 0.0);
        assert!(!pays(&numbers([FEWEST_ROWS - 1, 4], 0.0)));
        assert!(!pays(&rows.to_kind(Kind::Double)));
        assert_eq!([pays(&rows), pays(&rows.to_kind(Kind::BFloat16))], [*PAYS_F32, *PAYS_BF16]);
    }
}
