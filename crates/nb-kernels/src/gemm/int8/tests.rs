//! Comparison with the definition.

use nb_testing::{has_avx2, has_avx512vnni, require, wave};

use super::*;
use crate::gemm::operands::{MR, MicroPanel};

fn layer(inputs: usize, outputs: usize, activation: Option<Activation>) -> (Vec<f32>, Vec<f32>, Int8Linear) {
    let (weight, bias) = (wave(inputs * outputs, 0.3), wave(outputs, 1.7));
    let layer = Int8Linear::new(Matrix { entries: &weight, columns: inputs }, &bias, activation);
    (weight, bias, layer)
}

fn forward(layer: &Int8Linear, x: &[f32]) -> Vec<f32> {
    let mut rows = Int8Rows::default();
    rows.quantise(x, layer.inputs());
    let mut out = vec![f32::NAN; rows.rows() * layer.outputs()];
    layer.forward(&rows, &mut out);
    out
}

/// Integers up to 127 with a 127 in every row are exact in 8 bits.
#[test]
fn products_of_small_integers_are_exact() {
    for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 3), (6, 384, 64), (13, 33, 200), (100, 66, 65)] {
        let integers = |rows: usize, factor: usize| -> Vec<f32> {
            let entry = |i: usize| if i.is_multiple_of(inputs) { 127.0 } else { (i * factor % 255) as f32 - 127.0 };
            (0..rows * inputs).map(entry).collect()
        };
        let (x, weight, bias) = (integers(rows, 7), integers(outputs, 11), wave(outputs, 0.0));
        let layer = Int8Linear::new(Matrix { entries: &weight, columns: inputs }, &bias, None);
        for (i, found) in forward(&layer, &x).into_iter().enumerate() {
            let (row, output) = (i / outputs, i % outputs);
            let products = (0..inputs).map(|k| (x[row * inputs + k] * weight[output * inputs + k]) as i64);
            let expected = products.sum::<i64>() as f32 + bias[output];
            assert!((found - expected).abs() <= expected.abs() * 3e-7, "{rows} {inputs} {outputs}: {found} {expected}");
        }
    }
}

/// An error of half a step in each factor, times √k for a sum of independent errors; far above what rounding makes.
#[test]
fn results_are_close_to_those_in_f32() {
    for activation in [None, Some(Activation::Gelu)] {
        let (inputs, outputs, rows) = (384, 130, 17);
        let (weight, bias, layer) = layer(inputs, outputs, activation);
        let x = wave(rows * inputs, 2.9);
        for (i, found) in forward(&layer, &x).into_iter().enumerate() {
            let (row, output) = (i / outputs, i % outputs);
            let products = (0..inputs).map(|k| x[row * inputs + k] * weight[output * inputs + k]);
            let mut expected = [products.sum::<f32>() + bias[output]];
            activation.inspect(|activation| activation.apply(&mut expected));
            assert!((found - expected[0]).abs() < 2.0 / 254.0 * (inputs as f32).sqrt(), "{found}, {}", expected[0]);
        }
    }
}

/// Returns the results of a micro-tile. With a scale and a bias of 0, they are the sums: below 2²⁴, so exact.
fn tile(kernel: Kernel, left: MicroPanel<'_, u8>, panel: &[i8], offsets: &[i32; NR]) -> Vec<[f32; NR]> {
    let mut results = [[f32::NAN; NR]; MR];
    let dequantise = Dequantise { scales: &[1.0; NR], bias: &[0.0; NR], offsets };
    kernel.tile(left, &vec![1.0; left.rows], panel, dequantise, &mut results.each_mut().map(Some));
    results[..left.rows].to_vec()
}

/// Compares all kernels with the sums by the definition. AVX-VNNI itself runs only on processors that have it.
#[test]
fn all_instructions_give_the_same_sums() {
    let mut kernels = Kernel::available();
    let (avx2, vnni) = (require("avx2", has_avx2()), require("avx512vnni", has_avx512vnni()));
    let expected = 1 + usize::from(avx2) + usize::from(avx2 && nb_cpu::has_avxvnni()) + usize::from(vnni);
    assert_eq!(kernels.len(), expected, "{kernels:?}");
    let half = Kernel::half_vnni();
    assert_eq!(half.is_some(), avx2 && vnni);
    kernels.extend(half);
    // The extremes of both factors, for which instructions with saturation are wrong.
    let entries: Vec<u8> = (0..MR * 400).map(|i| if i % 3 == 0 { 255 } else { (i * 7 % 256) as u8 }).collect();
    let panel: Vec<i8> = (0..100 * WORD * NR).map(|i| if i % 5 < 3 { 127 } else { (i * 11 % 255) as i8 }).collect();
    let offsets = std::array::from_fn(|i| 1000 * i as i32 - 7);
    for rows in 1..=MR {
        for words in [0, 1, 33, 100] {
            let (left, panel) = (
                MicroPanel { entries: &entries, row_stride: 400, word_stride: WORD, rows },
                &panel[..words * WORD * NR],
            );
            let product = |row: usize, column: usize, k: usize| {
                let weight = panel[k / WORD * WORD * NR + column * WORD + k % WORD];
                i32::from(entries[row * 400 + k]) * i32::from(weight)
            };
            let sum = |row, column| (0..words * WORD).map(|k| product(row, column, k)).sum::<i32>() - offsets[column];
            for kernel in &kernels {
                for (row, found) in tile(*kernel, left, panel, &offsets).into_iter().enumerate() {
                    let expected: [f32; NR] = std::array::from_fn(|column| sum(row, column) as f32);
                    assert_eq!(found, expected, "{kernel:?}: row {row} of {rows}, {words} words");
                }
            }
        }
    }
}

/// The number of rows of a micro-tile, and a panel of which the result has a part only, take other paths to the same bits.
#[test]
fn every_number_of_rows_and_columns_gives_the_same_bits() {
    for activation in [None, Some(Activation::Gelu)] {
        let (weight, bias, x) = (wave(150 * 50, 0.3), wave(150, 1.7), wave(13 * 50, 0.9));
        let all = forward(&Int8Linear::new(Matrix { entries: &weight, columns: 50 }, &bias, activation), &x);
        for outputs in [1, 63, 64, 128] {
            let layer =
                Int8Linear::new(Matrix { entries: &weight[..outputs * 50], columns: 50 }, &bias[..outputs], activation);
            for rows in [1, 2, 3, 4, 5, 6, 7, 12] {
                let found = forward(&layer, &x[50..][..rows * 50]);
                for (found, all) in found.chunks_exact(outputs).zip(all.chunks_exact(150).skip(1)) {
                    assert_eq!(found, &all[..outputs], "{rows} {outputs} {activation:?}");
                }
            }
        }
    }
}

#[test]
fn a_row_depends_on_neither_the_batch_nor_the_threads() {
    let (_, _, layer) = layer(96, 200, Some(Activation::Gelu));
    let x = wave(150 * 96, 0.0);
    let all = forward(&layer, &x);
    assert_eq!(forward(&layer, &x[31 * 96..32 * 96]), all[31 * 200..32 * 200]);
    crate::threads::set(3);
    assert_eq!(forward(&layer, &x), all);
}

#[test]
fn numbers_that_are_not_finite_are_not_hidden() {
    let weight = [f32::NAN, 2.0, f32::INFINITY, -1.0, 0.0, 0.0, 1.0, -1.0];
    let layer = Int8Linear::new(Matrix { entries: &weight, columns: 2 }, &[0.0; 4], None);
    let found = forward(&layer, &[5.0, 1.0]);
    assert!(found[0].is_nan() && found[1].is_nan() && found[2] == 0.0 && (found[3] - 4.0).abs() < 0.05, "{found:?}");
    assert!(forward(&layer, &[f32::NAN, 1.0]).iter().all(|found| found.is_nan()));
    assert!(forward(&layer, &[]).is_empty());
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |f: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    let new = |entries: &[f32], columns: usize, bias: usize| {
        Int8Linear::new(Matrix { entries, columns }, &vec![0.0; bias], None);
    };
    assert!(!refused(&|| new(&[0.0; 4], 2, 2)));
    assert!(refused(&|| new(&[0.0; 5], 2, 2)) && refused(&|| new(&[], 0, 0)) && refused(&|| new(&[0.0; 4], 2, 1)));
    let wide = vec![0.0; Int8Linear::MAX_INPUTS + 1];
    assert!(refused(&|| new(&wide, wide.len(), 1)));
    let kernel = Kernel::fastest();
    let sum = |row_stride: usize, rows: usize| {
        let left = MicroPanel { entries: &[0; 8], row_stride, word_stride: WORD, rows };
        tile(kernel, left, &[0; WORD * NR], &[0; NR]);
    };
    assert!(!refused(&|| sum(4, 2)));
    assert!(
        refused(&|| sum(4, 3)) && refused(&|| sum(1 << 63, 3)) && refused(&|| sum(4, 0)) && refused(&|| sum(0, MR + 1))
    );
}
