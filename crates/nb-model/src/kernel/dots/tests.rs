//! Against libtorch's products of the same numbers.

use super::*;
use crate::kernel::activation::TensorActivation;

/// Rows, inputs and outputs that fill no tile, no panel and no pair; one with more rows than a part of a sum has.
const SHAPES: [[i64; 3]; 7] =
    [[1, 2, 2], [1, 4, 20], [7, 64, 66], [48, 130, 24], [101, 62, 192], [250, 384, 128], [2501, 10, 14]];

/// Numbers between −1 and 1, the same for every caller.
fn numbers(kind: Kind, size: &[i64], shift: f64) -> Tensor {
    let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)) * 0.7 + shift;
    all.sin().view(size).to_kind(kind)
}

/// Integers, so that every sum is exact.
fn integers(kind: Kind, size: &[i64], factor: i64) -> Tensor {
    let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu)) * factor;
    (all.remainder(7) - 3).to_kind(kind).view(size)
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

fn wide(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float)
}

/// Calls `f` with what this processor multiplies, its kind, and by how much of itself a number may be off: one rounding in bf16.
fn with_each(f: impl Fn(&dyn Products, Kind, f64)) {
    if let Some(dots) = bf16::dots() {
        f(dots, Kind::BFloat16, 1.0 / 256.0);
    }
    if let Some(dots) = f32::dots() {
        f(dots, Kind::Float, 1e-5);
    }
}

#[test]
fn products_are_those_of_f32_rounded_once() {
    with_each(|dots, kind, part| {
        for [n, inputs, outputs] in SHAPES {
            let numbers = |size: &[i64], shift| numbers(kind, size, shift);
            let (x, weight, bias) =
                (numbers(&[n, inputs], 0.0), numbers(&[outputs, inputs], 1.0), numbers(&[outputs], 2.0));
            let y = wide(&x).linear(&wide(&weight), Some(&wide(&bias)));
            assert_close(&dots.forward(&x, &weight, &bias), &y, part);
            let apart = x.tr().contiguous().tr();
            assert!(dots.forward(&apart, &weight, &bias).equal(&dots.forward(&x, &weight, &bias)));
            for f in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
                assert_close(&dots.activated(&x, &weight, &bias, f), &f.forward(&y), part);
                let (values, slopes) = dots.activated_with_slope(&x, &weight, &bias, f);
                assert!(values.equal(&dots.activated(&x, &weight, &bias, f)));
                // ReLU's slope jumps where sums in another order may fall on the other side of 0.
                let expected = f.backward(&y.ones_like(), &y) * y.abs().gt(1e-6).to_kind(Kind::Float);
                assert_close(&(slopes * y.abs().gt(1e-6).to_kind(kind)), &expected, part);
            }
        }
    });
}

#[test]
fn gradients_of_the_input_are_those_of_f32_rounded_once() {
    with_each(|dots, kind, part| {
        for [n, inputs, outputs] in SHAPES {
            let numbers = |size: &[i64], shift| numbers(kind, size, shift);
            let (grad, weight, slopes) =
                (numbers(&[n, outputs], 0.0), numbers(&[outputs, inputs], 1.0), numbers(&[n, inputs], 2.0));
            let expected = wide(&grad).matmul(&wide(&weight));
            assert_close(&dots.input_grad(&grad, &weight), &expected, part);
            assert_close(&dots.input_grad_through(&grad, &weight, &slopes), &(expected * wide(&slopes)), part);
        }
    });
}

#[test]
fn what_adds_up_in_f32_is_exact() {
    with_each(|dots, kind, _| {
        for [n, inputs, outputs] in SHAPES {
            let integers = |size: &[i64], factor| integers(kind, size, factor);
            let (grad, x, weight) =
                (integers(&[n, outputs], 3), integers(&[n, inputs], 5), integers(&[outputs, inputs], 2));
            let [mut residual, mut weight_grad] = [&x, &weight].map(|like| wide(&like.ones_like()) * 1000.5);
            let mut bias_grad = Tensor::ones([outputs], (Kind::Float, Device::Cpu)) * 0.25;
            let onto = &residual + wide(&grad).matmul(&wide(&weight));
            dots.add_input_grad(&mut residual, &grad, &weight);
            assert!(residual.equal(&onto), "{n} {inputs} {outputs}");

            let weights = &weight_grad + wide(&grad).tr().matmul(&wide(&x));
            let biases = &bias_grad + wide(&grad).sum_dim_intlist(0, false, Kind::Float);
            dots.add_parameter_grads(&grad, &x, &mut weight_grad, &mut bias_grad);
            assert!(weight_grad.equal(&weights) && bias_grad.equal(&biases), "{kind:?} {n} {inputs} {outputs}");
        }
    });
}

/// Rows that were elsewhere in the batch, and other numbers of threads, so parts of other sizes: the same bits.
#[test]
fn an_entry_is_the_same_wherever_it_is_and_whoever_computes_it() {
    with_each(|dots, kind, _| {
        let numbers = |size: &[i64], shift| numbers(kind, size, shift);
        let (x, weight, bias) = (numbers(&[2500, 64], 0.0), numbers(&[200, 64], 1.0), numbers(&[200], 2.0));
        let all = dots.forward(&x, &weight, &bias);
        assert!(dots.forward(&x.narrow(0, 101, 50), &weight, &bias).equal(&all.narrow(0, 101, 50)));

        let grad = numbers(&[2500, 200], 3.0);
        let with = |threads| {
            tch::set_num_threads(threads);
            let [mut residual, mut weight_grad, mut bias_grad] = [&x, &weight, &bias].map(|like| wide(like) * 0.3);
            dots.add_input_grad(&mut residual, &grad, &weight);
            dots.add_parameter_grads(&grad, &x, &mut weight_grad, &mut bias_grad);
            let (values, slopes) = dots.activated_with_slope(&x, &weight, &bias, Activation::Gelu);
            let back = dots.input_grad_through(&grad, &weight, &x);
            let plain = [dots.forward(&x, &weight, &bias), dots.input_grad(&grad, &weight)];
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
        tch::set_num_threads(1);
    });
}

#[test]
fn rows_of_another_width_are_refused() {
    with_each(|dots, kind, _| {
        let [x, weight, bias] = [&[96, 64][..], &[10, 128], &[10]].map(|size| integers(kind, size, 1));
        let run = std::panic::AssertUnwindSafe(|| dots.forward(&x, &weight, &bias));
        let refusal = std::panic::catch_unwind(run).expect_err("64 numbers against 128 weights");
        let message = refusal.downcast::<String>().expect("a message");
        assert!(message.contains("the shape of the input"), "{message}");
    });
}

#[test]
fn few_rows_odd_widths_and_other_kinds_do_not_belong_here() {
    let is_there = |x: &Tensor, weight: &Tensor| of(x, weight).is_some();
    for (kind, expected) in [(Kind::BFloat16, bf16::dots().is_some()), (Kind::Float, f32::dots().is_some())] {
        let (x, weight) = (numbers(kind, &[FEWEST_ROWS, 4], 0.0), numbers(kind, &[6, 4], 0.0));
        assert_eq!(is_there(&x, &weight), expected);
        assert!(!is_there(&x.narrow(0, 1, FEWEST_ROWS - 1), &weight));
        assert!(!is_there(&x.to_kind(Kind::Double), &weight.to_kind(Kind::Double)));
        let takes_odd = expected && kind == Kind::Float;
        assert_eq!(is_there(&x, &numbers(kind, &[5, 4], 0.0)), takes_odd);
        assert_eq!(is_there(&x.narrow(1, 0, 3), &numbers(kind, &[6, 3], 0.0)), takes_odd);
    }
}

/// Ties, ends, and what is no number.
#[test]
fn sums_are_rounded_to_even() {
    let Some(&dots) = bf16::dots() else { return };
    let mut bits = 0x0080_0000_u32;
    for round in 0..2000_u32 {
        let sums: [f32; tile::COLUMNS] = std::array::from_fn(|i| {
            bits = bits.wrapping_mul(0x9e37_79b1).wrapping_add(1);
            match (i + round as usize) % 5 {
                0 => f32::from_bits(bits & 0xffff_0000 | 0x8000), // half way between two
                1 => [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 1e-40][i % 7],
                _ => f32::from_bits(bits),
            }
        });
        for count in [tile::COLUMNS, 33] {
            let mut found = [bf16::NEG_ONE; tile::COLUMNS];
            bf16::put(dots, &sums, &mut found[..count]);
            for (sum, found) in sums.iter().zip(&found[..count]) {
                let nearest =
                    if sum.is_subnormal() { bf16::from_f32(0.0_f32.copysign(*sum)) } else { bf16::from_f32(*sum) };
                let same = nearest.is_nan() && found.is_nan() || nearest.to_bits() == found.to_bits();
                assert!(same, "{sum:e}: {found}, expected {nearest}");
            }
            assert!(found[count..].iter().all(|beyond| *beyond == bf16::NEG_ONE));
        }
    }
}

/// Columns from anywhere, into steps with room beyond, of odd numbers of rows; what was there before is overwritten.
fn columns_become_steps_and_sums<T: Number>() {
    let Some(&dots) = T::dots() else { return };
    let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
    for (rows, columns, most, width) in
        [(5, 70, 33, 48), (4, 40, 16, 16), (1, 7, 7, 16), (9, 300, 110, 112), (0, 8, 4, 16)]
    {
        let matrix: Vec<T> = (0..rows * columns).map(|i| T::from_f32(number(i))).collect();
        for index in 0..columns.div_ceil(most) {
            let part = number::Columns::part(&matrix, columns, index, most);
            let there = part.range.len();
            let steps = rows.div_ceil(T::IN_WORD);
            let mut words = vec![T::from_f32(99.0); steps * width * T::IN_WORD];
            T::interleave(dots, &part, width, &mut words);
            let entry = |row: usize, column: usize| {
                let inside = row < rows && column < there;
                if inside { number(row * columns + part.range.start + column) } else { 0.0 }
            };
            for (i, word) in words.iter().enumerate() {
                let (step, column, half) = (i / (T::IN_WORD * width), i / T::IN_WORD % width, i % T::IN_WORD);
                assert_eq!(word.to_f32(), entry(step * T::IN_WORD + half, column), "{rows} {columns} {index}: {i}");
            }
            let mut sums = vec![0.5; there];
            T::add_sums(dots, &words, width, &mut sums);
            for (column, sum) in sums.iter().enumerate() {
                let expected = (0..rows).map(|row| entry(row, column)).sum::<f32>() + 0.5;
                assert_eq!(*sum, expected, "{rows} {columns} {index}: {column}");
            }
        }
    }
}

#[test]
fn columns_of_bf16_become_steps_and_sums() {
    columns_become_steps_and_sums::<bf16>();
}

#[test]
fn columns_of_f32_become_steps_and_sums() {
    columns_become_steps_and_sums::<f32>();
}

#[test]
fn sums_beyond_the_steps_are_refused() {
    let Some(&dots) = f32::dots() else { return };
    let runs =
        |width, sums| std::panic::catch_unwind(|| f32::add_sums(dots, &[1.0; 64], width, &mut vec![0.0; sums])).is_ok();
    assert!(runs(16, 16) && runs(32, 3) && !runs(16, 17) && !runs(8, 8));
}
