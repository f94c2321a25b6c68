//! Comparison with libtorch's products of the same numbers.

use nb_testing::{has_avx2, has_avx512bf16, require};

use super::*;
use crate::kernel::activation;

/// Rows, inputs and outputs that do not fill tiles, panels or pairs. The last shape has more rows than one part of a sum.
const SHAPES: [[i64; 3]; 7] =
    [[1, 2, 2], [1, 4, 20], [7, 64, 66], [48, 130, 24], [101, 62, 192], [250, 384, 128], [2501, 10, 14]];

/// Numbers between −1 and 1, the same for every caller.
fn numbers(kind: Kind, size: &[i64], shift: f64) -> Tensor {
    let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)) * 0.7 + shift;
    all.sin().view(size).to_kind(kind)
}

/// Integers, for which every sum is exact.
fn integers(kind: Kind, size: &[i64], factor: i64) -> Tensor {
    let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu)) * factor;
    (all.remainder(7) - 3).to_kind(kind).view(size)
}

/// Fails unless all errors are within `part` of the largest number.
#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, part: f64) {
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    assert_eq!(found.size(), expected.size());
    let off = (&found - &expected).abs().max().double_value(&[]);
    let scale = expected.abs().max().double_value(&[]);
    assert!(off <= part * scale, "off by {off} of {scale}");
}

fn wide(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float)
}

/// Calls `f` with the products of each number format, its kind, and the relative tolerance: one rounding in bf16.
fn with_each(f: impl Fn(&dyn Gemm, Kind, f64)) {
    if require("avx512bf16", has_avx512bf16()) {
        f(&Isa::<bf16>::detect().expect("the machine has the instructions"), Kind::BFloat16, 1.0 / 256.0);
    }
    if require("avx2", has_avx2()) {
        f(&Isa::<f32>::detect().expect("the machine has the instructions"), Kind::Float, 1e-5);
    }
}

#[test]
fn products_match_f32_rounded_once() {
    with_each(|gemm, kind, part| {
        for [n, inputs, outputs] in SHAPES {
            let numbers = |size: &[i64], shift| numbers(kind, size, shift);
            let (x, weight, bias) =
                (numbers(&[n, inputs], 0.0), numbers(&[outputs, inputs], 1.0), numbers(&[outputs], 2.0));
            let y = wide(&x).linear(&wide(&weight), Some(&wide(&bias)));
            assert_close(&gemm.forward(&x, &weight, &bias), &y, part);
            let strided = x.tr().contiguous().tr();
            assert!(gemm.forward(&strided, &weight, &bias).equal(&gemm.forward(&x, &weight, &bias)));
            for f in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
                assert_close(&gemm.activated(&x, &weight, &bias, f), &activation::forward(f, &y), part);
                let (values, slopes) = gemm.activated_with_slope(&x, &weight, &bias, f);
                assert!(values.equal(&gemm.activated(&x, &weight, &bias, f)));
                // ReLU's slope jumps at 0, and sums in another order may fall on the other side of it.
                let expected = activation::backward(f, &y.ones_like(), &y) * y.abs().gt(1e-6).to_kind(Kind::Float);
                assert_close(&(slopes * y.abs().gt(1e-6).to_kind(kind)), &expected, part);
            }
        }
    });
}

#[test]
fn gradients_of_the_input_match_f32_rounded_once() {
    with_each(|gemm, kind, part| {
        for [n, inputs, outputs] in SHAPES {
            let numbers = |size: &[i64], shift| numbers(kind, size, shift);
            let (grad, weight, slopes) =
                (numbers(&[n, outputs], 0.0), numbers(&[outputs, inputs], 1.0), numbers(&[n, inputs], 2.0));
            let expected = wide(&grad).matmul(&wide(&weight));
            assert_close(&gemm.input_grad(&grad, &weight), &expected, part);
            assert_close(&gemm.input_grad_through(&grad, &weight, &slopes), &(expected * wide(&slopes)), part);
        }
    });
}

#[test]
fn sums_in_f32_are_exact() {
    with_each(|gemm, kind, _| {
        for [n, inputs, outputs] in SHAPES {
            let integers = |size: &[i64], factor| integers(kind, size, factor);
            let (grad, x, weight) =
                (integers(&[n, outputs], 3), integers(&[n, inputs], 5), integers(&[outputs, inputs], 2));
            let [mut residual, mut weight_grad] = [&x, &weight].map(|like| wide(&like.ones_like()) * 1000.5);
            let mut bias_grad = Tensor::ones([outputs], (Kind::Float, Device::Cpu)) * 0.25;
            let expected = &residual + wide(&grad).matmul(&wide(&weight));
            gemm.add_input_grad(&mut residual, &grad, &weight);
            assert!(residual.equal(&expected), "{n} {inputs} {outputs}");

            let weights = &weight_grad + wide(&grad).tr().matmul(&wide(&x));
            let biases = &bias_grad + wide(&grad).sum_dim_intlist(0, false, Kind::Float);
            gemm.add_parameter_grads(&grad, &x, &mut weight_grad, &mut bias_grad);
            assert!(weight_grad.equal(&weights) && bias_grad.equal(&biases), "{kind:?} {n} {inputs} {outputs}");
        }
    });
}

/// Rows at other positions in the batch, and other numbers of threads (hence other tile sizes), give the same bits.
#[test]
fn an_entry_does_not_depend_on_the_batch_or_the_threads() {
    with_each(|gemm, kind, _| {
        let numbers = |size: &[i64], shift| numbers(kind, size, shift);
        let (x, weight, bias) = (numbers(&[2500, 64], 0.0), numbers(&[200, 64], 1.0), numbers(&[200], 2.0));
        let all = gemm.forward(&x, &weight, &bias);
        assert!(gemm.forward(&x.narrow(0, 101, 50), &weight, &bias).equal(&all.narrow(0, 101, 50)));

        let grad = numbers(&[2500, 200], 3.0);
        let with = |threads| {
            nb_kernels::threads::set(threads);
            let [mut residual, mut weight_grad, mut bias_grad] = [&x, &weight, &bias].map(|like| wide(like) * 0.3);
            gemm.add_input_grad(&mut residual, &grad, &weight);
            gemm.add_parameter_grads(&grad, &x, &mut weight_grad, &mut bias_grad);
            let (values, slopes) = gemm.activated_with_slope(&x, &weight, &bias, Activation::Gelu);
            let back = gemm.input_grad_through(&grad, &weight, &x);
            let plain = [gemm.forward(&x, &weight, &bias), gemm.input_grad(&grad, &weight)];
            [residual, weight_grad, bias_grad]
                .into_iter()
                .chain([values, slopes, back])
                .chain(plain)
                .collect::<Vec<_>>()
        };
        let expected = with(1);
        for threads in [2, 3, 8] {
            let found = with(threads);
            assert!(found.iter().zip(&expected).all(|(found, expected)| found.equal(expected)), "{threads} threads");
        }
        nb_kernels::threads::set(1);
    });
}

#[test]
fn rows_of_another_width_are_refused() {
    with_each(|gemm, kind, _| {
        let [x, weight, bias] = [&[96, 64][..], &[10, 128], &[10]].map(|size| integers(kind, size, 1));
        let run = std::panic::AssertUnwindSafe(|| gemm.forward(&x, &weight, &bias));
        let refusal = std::panic::catch_unwind(run).expect_err("64 numbers against 128 weights");
        let message = refusal.downcast::<String>().expect("a message");
        assert!(message.contains("the shape of the input"), "{message}");
    });
}

#[test]
fn few_rows_odd_widths_and_other_kinds_are_not_selected() {
    let is_selected = |x: &Tensor, weight: &Tensor| select(x, weight).is_some();
    for (kind, expected) in
        [(Kind::BFloat16, Isa::<bf16>::fastest().is_some()), (Kind::Float, Isa::<f32>::fastest().is_some())]
    {
        let (x, weight) = (numbers(kind, &[FEWEST_ROWS, 4], 0.0), numbers(kind, &[6, 4], 0.0));
        assert_eq!(is_selected(&x, &weight), expected);
        assert!(!is_selected(&x.narrow(0, 1, FEWEST_ROWS - 1), &weight));
        assert!(!is_selected(&x.to_kind(Kind::Double), &weight.to_kind(Kind::Double)));
        let takes_odd = expected && kind == Kind::Float;
        assert_eq!(is_selected(&x, &numbers(kind, &[5, 4], 0.0)), takes_odd);
        assert_eq!(is_selected(&x.narrow(1, 0, 3), &numbers(kind, &[6, 3], 0.0)), takes_odd);
    }
}
