//! Against libtorch's products of the same numbers.

use super::*;

/// Rows, inputs and outputs that fill no tile, no panel and no pair.
const SHAPES: [[i64; 3]; 5] = [[1, 2, 2], [7, 64, 66], [48, 130, 24], [101, 62, 192], [250, 384, 128]];

/// Numbers between −1 and 1, the same for every caller.
fn numbers(size: &[i64], shift: f64) -> Tensor {
    let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)) * 0.7 + shift;
    all.sin().view(size).to_kind(Kind::BFloat16)
}

/// Integers, so that every sum is exact.
fn integers(size: &[i64], factor: i64) -> Tensor {
    let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu)) * factor;
    (all.remainder(7) - 3).to_kind(Kind::BFloat16).view(size)
}

/// Up to `part` of the largest number.
#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, part: f64) {
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    assert_eq!(found.size(), expected.size());
    let off = (&found - &expected).abs().max().double_value(&[]);
    let scale = expected.abs().max().double_value(&[]);
    assert!(off <= part * scale, "off by {off} of {scale}");
}

/// A number is off by 2⁻⁸ of itself at most in bf16.
const ROUNDED: f64 = 1.0 / 256.0;

fn wide(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float)
}

#[test]
fn products_are_those_of_f32_rounded_once() {
    for [n, inputs, outputs] in SHAPES {
        let (x, weight, bias) =
            (numbers(&[n, inputs], 0.0), numbers(&[outputs, inputs], 1.0), numbers(&[outputs], 2.0));
        if !is_for(&x, &weight) {
            return;
        }
        let y = wide(&x).linear(&wide(&weight), Some(&wide(&bias)));
        assert_close(&forward(&x, &weight, &bias), &y, ROUNDED);
        let apart = x.tr().contiguous().tr();
        assert!(forward(&apart, &weight, &bias).equal(&forward(&x, &weight, &bias)));
        for f in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
            assert_close(&activated(&x, &weight, &bias, f), &f.forward(&y), ROUNDED);
            let (values, slopes) = activated_with_slope(&x, &weight, &bias, f);
            assert!(values.equal(&activated(&x, &weight, &bias, f)));
            assert_close(&slopes, &f.backward(&y.ones_like(), &y), ROUNDED);
        }
    }
}

#[test]
fn gradients_of_the_input_are_those_of_f32_rounded_once() {
    for [n, inputs, outputs] in SHAPES {
        let (grad, weight, slopes) =
            (numbers(&[n, outputs], 0.0), numbers(&[outputs, inputs], 1.0), numbers(&[n, inputs], 2.0));
        if !is_for(&grad, &weight) {
            return;
        }
        let expected = wide(&grad).matmul(&wide(&weight));
        assert_close(&input_grad(&grad, &weight), &expected, ROUNDED);
        assert_close(&input_grad_through(&grad, &weight, &slopes), &(expected * wide(&slopes)), ROUNDED);
    }
}

#[test]
fn what_adds_up_in_f32_is_exact() {
    for [n, inputs, outputs] in SHAPES {
        let (grad, x, weight) =
            (integers(&[n, outputs], 3), integers(&[n, inputs], 5), integers(&[outputs, inputs], 2));
        if !is_for(&x, &weight) {
            return;
        }
        let [mut residual, mut weight_grad] = [&x, &weight].map(|like| wide(&like.ones_like()) * 1000.5);
        let mut bias_grad = Tensor::ones([outputs], (Kind::Float, Device::Cpu)) * 0.25;
        let onto = &residual + wide(&grad).matmul(&wide(&weight));
        add_input_grad(&mut residual, &grad, &weight);
        assert!(residual.equal(&onto), "{n} {inputs} {outputs}");

        let weights = &weight_grad + wide(&grad).tr().matmul(&wide(&x));
        let biases = &bias_grad + wide(&grad).sum_dim_intlist(0, false, Kind::Float);
        add_parameter_grads(&grad, &x, &mut weight_grad, &mut bias_grad);
        assert!(weight_grad.equal(&weights) && bias_grad.equal(&biases), "{n} {inputs} {outputs}");
    }
}

/// Rows that were elsewhere in the batch, and other numbers of threads, so tasks of other sizes: the same bits.
#[test]
fn an_entry_is_the_same_wherever_it_is_and_whoever_computes_it() {
    let (x, weight, bias) = (numbers(&[250, 64], 0.0), numbers(&[128, 64], 1.0), numbers(&[128], 2.0));
    if !is_for(&x, &weight) {
        return;
    }
    let all = forward(&x, &weight, &bias);
    assert!(forward(&x.narrow(0, 101, 50), &weight, &bias).equal(&all.narrow(0, 101, 50)));

    let grad = numbers(&[250, 128], 3.0);
    let with = |threads| {
        tch::set_num_threads(threads);
        let [mut residual, mut weight_grad, mut bias_grad] = [&x, &weight, &bias].map(|like| wide(like) * 0.3);
        add_input_grad(&mut residual, &grad, &weight);
        add_parameter_grads(&grad, &x, &mut weight_grad, &mut bias_grad);
        [wide(&forward(&x, &weight, &bias)), residual, weight_grad, bias_grad]
    };
    let expected = with(1);
    for threads in [2, 3] {
        assert!(
            with(threads).iter().zip(&expected).all(|(found, expected)| found.equal(expected)),
            "{threads} threads"
        );
    }
}

#[test]
#[should_panic(expected = "the shape of the input")]
fn rows_of_another_width_are_refused() {
    drop(forward(&numbers(&[96, 64], 0.0), &numbers(&[10, 128], 0.0), &numbers(&[10], 0.0)));
}

#[test]
fn few_rows_odd_widths_and_other_kinds_do_not_belong_here() {
    let (x, weight) = (numbers(&[FEWEST_ROWS, 4], 0.0), numbers(&[6, 4], 0.0));
    assert_eq!(pays(&x, &weight), DOTS.is_some());
    assert!(!pays(&x.narrow(0, 1, FEWEST_ROWS - 1), &weight));
    assert!(!pays(&x, &numbers(&[5, 4], 0.0)));
    assert!(!pays(&x.narrow(1, 0, 3), &numbers(&[6, 3], 0.0)));
    assert!(!pays(&wide(&x), &weight));
}
