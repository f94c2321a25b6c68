//! Comparison with plain loops in f64.

use half::bf16;
use nb_testing::{has_avx2, has_avx512bf16, require, wave};

use super::operands::step;
use super::*;
use crate::float::Float;

/// Rows, inputs and outputs that do not fill tiles, panels or pairs. The last shape has more rows than one part of a sum.
const SHAPES: [[usize; 3]; 7] =
    [[1, 2, 2], [1, 4, 20], [7, 64, 66], [48, 130, 24], [101, 62, 192], [250, 384, 128], [2501, 10, 14]];

/// Returns the instructions for `T`, or prints a line and returns `None` if the machine lacks them.
pub(super) fn detect<T: Element>() -> Option<Isa<T>> {
    let (feature, available) = if T::BITS == 16 { ("avx512bf16", has_avx512bf16()) } else { ("avx2", has_avx2()) };
    require(feature, available).then(|| Isa::detect().expect("the machine has the instructions"))
}

/// Numbers between −1 and 1.
fn numbers<T: Float>(len: usize, shift: f32) -> Vec<T> {
    wave(len, shift).into_iter().map(T::from_f32).collect()
}

/// Integers, for which every sum is exact.
fn integers<T: Float>(len: usize, factor: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f32((i * factor % 7) as f32 - 3.0)).collect()
}

fn matrix<T>(entries: &[T], columns: usize) -> Matrix<'_, T> {
    Matrix { entries, columns }
}

/// `left` [n, k] · `right` [k, m], where `right` is stored transposed if `TRANSPOSED`.
fn reference<T: Float, const TRANSPOSED: bool>(left: Matrix<'_, T>, right: &[T], m: usize) -> Vec<f64> {
    let (n, k) = (left.rows(), left.columns);
    let wide = |x: &[T]| -> Vec<f64> { x.iter().map(|x| f64::from(x.to_f32())).collect() };
    let (left, right) = (wide(left.entries), wide(right));
    let mut out = Vec::with_capacity(n * m);
    for i in 0..n {
        for j in 0..m {
            let right = |l: usize| if TRANSPOSED { right[j * k + l] } else { right[l * m + j] };
            out.push((0..k).map(|l| left[i * k + l] * right(l)).sum());
        }
    }
    out
}

fn transposed<T: Float>(x: Matrix<'_, T>) -> Vec<T> {
    (0..x.entries.len()).map(|i| x.entries[i % x.rows() * x.columns + i / x.rows()]).collect()
}

/// Allows an error of one rounding of the largest number in bf16, and of several in f32.
#[track_caller]
fn assert_close<T: Float>(found: &[T], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let part = if T::BITS == 16 { 1.0 / 256.0 } else { 1e-5 };
    let largest = expected.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(found.to_f32()) - expected).abs();
        assert!(off <= part * largest, "entry {i} is off by {off} of {largest}");
    }
}

fn products_are_sums_rounded_once<T: Element + PartialEq>() {
    let Some(isa) = detect::<T>() else { return };
    for [n, inputs, outputs] in SHAPES {
        let (x, weight, bias) =
            (numbers::<T>(n * inputs, 0.0), numbers(outputs * inputs, 1.0), numbers::<T>(outputs, 2.0));
        let (x, weight) = (matrix(&x, inputs), matrix(&weight, inputs));
        let mut expected = reference::<T, true>(x, weight.entries, outputs);
        let at = |i: usize| f64::from(bias[i % outputs].to_f32());
        expected.iter_mut().enumerate().for_each(|(i, y)| *y += at(i));
        let mut found = vec![T::ZERO; n * outputs];
        isa.linear(x, weight, &bias, None, &mut found);
        assert_close(&found, &expected);

        for f in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
            let mut activated: Vec<f32> = expected.iter().map(|y| *y as f32).collect();
            f.apply(&mut activated);
            let activated: Vec<f64> = activated.into_iter().map(f64::from).collect();
            isa.linear(x, weight, &bias, Some(f), &mut found);
            assert_close(&found, &activated);
            let (mut values, mut slopes) = (vec![T::ZERO; n * outputs], vec![T::ZERO; n * outputs]);
            isa.linear_with_slope(x, weight, &bias, f, &mut values, &mut slopes);
            assert_eq!(values, found);
        }
    }
}

#[test]
fn products_of_bf16_are_sums_rounded_once() {
    products_are_sums_rounded_once::<bf16>();
}

#[test]
fn products_of_f32_are_sums_rounded_once() {
    products_are_sums_rounded_once::<f32>();
}

fn gradients_of_the_input_are_sums_rounded_once<T: Element>() {
    let Some(isa) = detect::<T>() else { return };
    for [n, inputs, outputs] in SHAPES {
        let (grad, weight) = (numbers::<T>(n * outputs, 0.0), numbers(outputs * inputs, 1.0));
        let slopes = numbers::<T>(n * inputs, 2.0);
        let (grad, weight) = (matrix(&grad, outputs), matrix(&weight, inputs));
        let mut expected = reference::<T, false>(grad, weight.entries, inputs);
        let mut found = vec![T::ZERO; n * inputs];
        isa.input_grad(grad, weight, &mut found);
        assert_close(&found, &expected);
        expected.iter_mut().zip(&slopes).for_each(|(x, slope)| *x *= f64::from(slope.to_f32()));
        isa.input_grad_through(grad, weight, &slopes, &mut found);
        assert_close(&found, &expected);
    }
}

#[test]
fn gradients_in_bf16_are_sums_rounded_once() {
    gradients_of_the_input_are_sums_rounded_once::<bf16>();
}

#[test]
fn gradients_in_f32_are_sums_rounded_once() {
    gradients_of_the_input_are_sums_rounded_once::<f32>();
}

fn sums_in_f32_are_exact<T: Element>() {
    let Some(isa) = detect::<T>() else { return };
    for [n, inputs, outputs] in SHAPES {
        let (grad, x, weight) =
            (integers::<T>(n * outputs, 3), integers::<T>(n * inputs, 5), integers::<T>(outputs * inputs, 2));
        let (grad, x, weight) = (matrix(&grad, outputs), matrix(&x, inputs), matrix(&weight, inputs));
        let plus = |start: f64, sums: Vec<f64>| -> Vec<f32> { sums.into_iter().map(|x| (start + x) as f32).collect() };

        let mut sum = vec![1000.5; n * inputs];
        isa.add_input_grad(grad, weight, &mut sum);
        assert_eq!(sum, plus(1000.5, reference::<T, false>(grad, weight.entries, inputs)), "{n} {inputs} {outputs}");

        let (mut weight_grad, mut bias_grad) = (vec![1000.5; outputs * inputs], vec![0.25; outputs]);
        isa.add_parameter_grads(grad, x, &mut weight_grad, &mut bias_grad);
        let columns = transposed(grad);
        let columns = matrix(&columns, n);
        assert_eq!(weight_grad, plus(1000.5, reference::<T, false>(columns, x.entries, inputs)));
        let ones = vec![T::from_f32(1.0); n];
        assert_eq!(bias_grad, plus(0.25, reference::<T, false>(columns, &ones, 1)));
    }
}

#[test]
fn sums_of_bf16_in_f32_are_exact() {
    sums_in_f32_are_exact::<bf16>();
}

#[test]
fn sums_of_f32_in_f32_are_exact() {
    sums_in_f32_are_exact::<f32>();
}

/// Other tests may change the number of threads in the meantime, which must not matter either.
fn results_do_not_depend_on_the_number_of_threads<T: Element + PartialEq>() {
    let Some(isa) = detect::<T>() else { return };
    let (x, weight, bias) = (numbers::<T>(1300 * 64, 0.0), numbers(200 * 64, 1.0), numbers(200, 2.0));
    let (x, weight) = (matrix(&x, 64), matrix(&weight, 64));
    let with = |count| {
        threads::set(count);
        let mut out = vec![T::ZERO; 1300 * 200];
        isa.linear(x, weight, &bias, Some(Activation::Gelu), &mut out);
        let (mut weight_grad, mut bias_grad) = (vec![0.3; 200 * 64], vec![0.3; 200]);
        isa.add_parameter_grads(matrix(&out, 200), x, &mut weight_grad, &mut bias_grad);
        (out, weight_grad, bias_grad)
    };
    let expected = with(1);
    for count in [2, 3, 8] {
        assert!(with(count) == expected, "{count} threads");
    }
}

#[test]
fn bf16_results_do_not_depend_on_the_number_of_threads() {
    results_do_not_depend_on_the_number_of_threads::<bf16>();
}

#[test]
fn f32_results_do_not_depend_on_the_number_of_threads() {
    results_do_not_depend_on_the_number_of_threads::<f32>();
}

/// Covers ties, extremes and NaN.
#[test]
fn sums_are_rounded_to_even() {
    let Some(isa) = detect::<bf16>() else { return };
    let mut bits = 0x0080_0000_u32;
    for round in 0..2000_u32 {
        let sums: [f32; NR] = std::array::from_fn(|i| {
            bits = bits.wrapping_mul(0x9e37_79b1).wrapping_add(1);
            match (i + round as usize) % 5 {
                0 => f32::from_bits(bits & 0xffff_0000 | 0x8000), // halfway between two numbers
                1 => [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 1e-40][i % 7],
                _ => f32::from_bits(bits),
            }
        });
        for count in [NR, 33] {
            let mut found = [bf16::NEG_ONE; NR];
            Microkernel::store(isa, &sums, &mut found[..count]);
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

/// Covers columns from any position, steps wider than the columns, and odd numbers of rows. Earlier contents are overwritten.
fn columns_become_steps_and_sums<T: Element>() {
    let Some(isa) = detect::<T>() else { return };
    let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
    let word = in_word::<T>();
    for (rows, columns, most, width) in
        [(5, 70, 33, 48), (4, 40, 16, 16), (1, 7, 7, 16), (9, 300, 110, 112), (0, 8, 4, 16)]
    {
        let entries: Vec<T> = (0..rows * columns).map(|i| T::from_f32(number(i))).collect();
        for index in 0..columns.div_ceil(most) {
            let part = Columns::part(matrix(&entries, columns), index, most);
            let mut words = vec![T::from_f32(99.0); rows.div_ceil(word) * width * word];
            T::interleave(isa, &part, width, &mut words);
            let entry = |row: usize, column: usize| {
                let inside = row < rows && column < part.range.len();
                if inside { number(row * columns + part.range.start + column) } else { 0.0 }
            };
            for (i, found) in words.iter().enumerate() {
                let (row, column) = (i / (word * width) * word + i % word, i / word % width);
                assert_eq!(found.to_f32(), entry(row, column), "{rows} {columns} {index}: {i}");
            }
            let mut sums = vec![0.5; part.range.len()];
            T::add_sums(isa, &words, width, &mut sums);
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

/// Covers rows that fill squares and rows that do not.
fn rows_become_columns_of_panels<T: Element>() {
    for (rows, k) in [(1, 2), (16, 32), (70, 64), (33, 34)] {
        let entries: Vec<T> = (0..rows * k).map(|i| T::from_f32((i % 251) as f32)).collect();
        let x = matrix(&entries, k);
        for index in 0..rows.div_ceil(NR) {
            let mut panel = vec![T::from_f32(-9.0); pack::panel_len::<T>(k)];
            pack::transposed(x, index, &mut panel);
            for (i, found) in panel.iter().enumerate() {
                let (word, column) = (i / step::<T>(), i % step::<T>() / in_word::<T>());
                let (row, entry) = (index * NR + column, word * in_word::<T>() + i % in_word::<T>());
                let expected = if row < rows { x.entries[row * k + entry].to_f32() } else { 0.0 };
                assert_eq!(found.to_f32(), expected, "{rows} {k}, panel {index}: {i}");
            }
        }
    }
}

#[test]
fn rows_of_bf16_become_columns_of_panels() {
    rows_become_columns_of_panels::<bf16>();
}

#[test]
fn rows_of_f32_become_columns_of_panels() {
    rows_become_columns_of_panels::<f32>();
}

#[test]
fn sums_beyond_the_steps_are_refused() {
    let Some(isa) = detect::<f32>() else { return };
    let runs = |width, sums| {
        let mut sums = vec![0.0; sums];
        std::panic::catch_unwind(move || Microkernel::add_sums(isa, &[1.0; 64], width, &mut sums)).is_ok()
    };
    assert!(runs(16, 16) && runs(32, 3) && !runs(16, 17) && !runs(8, 8));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let Some(isa) = detect::<f32>() else { return };
    let refusal = |x: usize, columns: usize, bias: usize, out: usize| {
        let run = || {
            let (x, weight) = (vec![0.0; x], vec![0.0; 10 * 4]);
            let (bias, mut out) = (vec![0.0; bias], vec![0.0; out]);
            isa.linear(matrix(&x, columns), matrix(&weight, 4), &bias, None, &mut out);
        };
        std::panic::catch_unwind(run).err().map(|panic| *panic.downcast::<String>().expect("a message"))
    };
    assert_eq!(refusal(8, 4, 10, 20), None);
    let is_refused = |refusal: Option<String>, text: &str| refusal.is_some_and(|message| message.contains(text));
    assert!(is_refused(refusal(8, 2, 10, 40), "columns of the input"));
    assert!(is_refused(refusal(9, 4, 10, 20), "entries of the input"));
    assert!(is_refused(refusal(8, 4, 9, 20), "entries of the bias"));
    assert!(is_refused(refusal(8, 4, 10, 21), "entries of the result"));
}
