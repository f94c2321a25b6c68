//! f32 products by oneDNN, where it knows the processor better than libtorch's BLAS does.
//!
//! libtorch multiplies f32 matrices by MKL, which takes AVX-512 on Intel's processors alone; on others it stays with the
//! half as wide registers of AVX2. oneDNN, which libtorch brings along, asks for what the processor can. On a Zen 5 its
//! products take from 40 to 70 % of MKL's time, copies in and out of its tensors included, once there are some rows. The
//! sums run in another order; both are f32 throughout.

use std::sync::LazyLock;

use tch::{Device, Kind, Tensor};

/// Rows from which on the products outweigh the copies.
const FEWEST_ROWS: i64 = 48;

/// Whether this processor has AVX-512 and is not Intel's, and libtorch has oneDNN.
static PAYS: LazyLock<bool> = LazyLock::new(|| has_unused_avx512() && zeros().f_to_mkldnn(None::<Kind>).is_ok());

fn zeros() -> Tensor {
    Tensor::zeros([1, 1], (Kind::Float, Device::Cpu))
}

#[cfg(target_arch = "x86_64")]
fn has_unused_avx512() -> bool {
    /// "Genu", the first letters of the vendor's name.
    const INTEL: u32 = u32::from_le_bytes(*b"Genu");
    std::is_x86_feature_detected!("avx512f") && std::arch::x86_64::__cpuid(0).ebx != INTEL
}

#[cfg(not(target_arch = "x86_64"))]
fn has_unused_avx512() -> bool {
    false
}

/// Whether the products of rows `x` [n, in] belong here.
pub(crate) fn pays(x: &Tensor) -> bool {
    x.size()[0] >= FEWEST_ROWS && x.kind() == Kind::Float && x.device() == Device::Cpu && *PAYS
}

/// `x` Wᵀ + b, [n, out].
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    dense(&blocked(x).mkldnn_linear(weight, Some(bias)))
}

/// From dL/dy `grad` [n, out] and the input `x` [n, in] the gradients of input, weight and bias.
pub(crate) fn backward(grad: &Tensor, x: &Tensor, weight: &Tensor) -> [Tensor; 3] {
    let (grad, size) = (blocked(grad), x.size());
    let (weight_grad, bias_grad) = blocked(x).mkldnn_linear_backward_weights(&grad, weight, true);
    [dense(&Tensor::mkldnn_linear_backward_input(size, &grad, weight)), dense(&weight_grad), dense(&bias_grad)]
}

/// As a tensor of oneDNN's own.
fn blocked(x: &Tensor) -> Tensor {
    x.contiguous().to_mkldnn()
}

/// Back; what is dense already stays as it is.
fn dense(x: &Tensor) -> Tensor {
    if x.is_mkldnn() { x.to_dense(None::<Kind>, false) } else { x.shallow_clone() }
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
        if zeros().f_to_mkldnn(None::<Kind>).is_err() {
            return; // a libtorch without oneDNN, where `pays` is never true
        }
        for [n, k, m] in [[1, 5, 3], [64, 48, 80], [131, 96, 33]] {
            let (x, weight, bias) = (numbers([n, k], 0.0), numbers([m, k], 1.0), numbers([1, m], 2.0).view([m]));
            assert_close(&forward(&x, &weight, &bias), &x.linear(&weight, Some(&bias)));
            let grad = numbers([n, m], 3.0);
            let [input, weight_grad, bias_grad] = backward(&grad, &x, &weight);
            assert_close(&input, &grad.matmul(&weight));
            assert_close(&weight_grad, &grad.tr().matmul(&x));
            assert_close(&bias_grad, &grad.sum_dim_intlist(0, false, Kind::Float));
        }
    }

    #[test]
    fn few_rows_other_kinds_and_intels_processors_stay_with_libtorch() {
        assert!(!pays(&numbers([FEWEST_ROWS - 1, 4], 0.0)));
        assert!(!pays(&numbers([FEWEST_ROWS, 4], 0.0).to_kind(Kind::BFloat16)));
        assert_eq!(pays(&numbers([FEWEST_ROWS, 4], 0.0)), *PAYS);
    }
}
