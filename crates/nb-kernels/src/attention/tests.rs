//! Comparison with the definition in f64.

use half::bf16;
use nb_testing::wave;

use super::*;

/// The attention weights of one head of a sequence, [length, length], by the definition.
fn weights(query: &[f64], key: &[f64], size: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut weights = Vec::new();
    for query in query.chunks_exact(size) {
        let scores: Vec<f64> = key.chunks_exact(size).map(|key| dot(query, key) / (size as f64).sqrt()).collect();
        let sum: f64 = scores.iter().map(|score| score.exp()).sum();
        weights.extend(scores.iter().map(|score| score.exp() / sum));
    }
    weights
}

/// The output [n, H] by the definition, without dropout.
fn reference(qkv: &[f32], lengths: &[usize], heads: Heads) -> Vec<f64> {
    let (hidden, size) = (heads.hidden(), heads.size);
    let mut out = vec![0.0; qkv.len() / 3];
    let mut start = 0;
    for &length in lengths {
        for head in 0..heads.count {
            let part = |part: usize| -> Vec<f64> {
                let first = |row: usize| (start + row) * 3 * hidden + part * hidden + head * size;
                let row = |row| qkv[first(row)..first(row) + size].iter().map(|x| f64::from(*x));
                (0..length).flat_map(row).collect()
            };
            let (weights, value) = (weights(&part(0), &part(1), size), part(2));
            for i in 0..length {
                for j in 0..size {
                    out[(start + i) * hidden + head * size + j] =
                        (0..length).map(|t| weights[i * length + t] * value[t * size + j]).sum();
                }
            }
        }
        start += length;
    }
    out
}

fn forward<T: Float>(batch: &Batch<'_>, qkv: &[T]) -> (Vec<T>, Vec<Softmax>) {
    let rows: usize = batch.lengths.iter().sum();
    let mut out = vec![T::ZERO; rows * batch.heads.hidden()];
    let mut softmax = vec![Softmax::default(); rows * batch.heads.count];
    batch.forward(qkv, &mut out, &mut softmax);
    (out, softmax)
}

fn backward<T: Float>(batch: &Batch<'_>, grad: &[T], qkv: &[T], softmax: &[Softmax]) -> Vec<T> {
    let mut out = vec![T::ZERO; qkv.len()];
    batch.backward(grad, qkv, softmax, &mut out);
    out
}

/// Covers lengths on both sides of a row's alignment, and heads that do and do not fill a register.
#[test]
fn the_output_matches_the_definition() {
    let cases: [(&[usize], usize, usize); 4] =
        [(&[33, 32, 17, 16, 3, 1], 2, 4), (&[9, 2], 3, 32), (&[1], 1, 16), (&[64, 40], 2, 24)];
    for (lengths, count, size) in cases {
        let heads = Heads { count, size };
        let batch = Batch { lengths, heads, dropout: None };
        let qkv = wave(lengths.iter().sum::<usize>() * 3 * heads.hidden(), 0.0);
        let (found, _) = forward(&batch, &qkv);
        for (found, expected) in found.iter().zip(reference(&qkv, lengths, heads)) {
            assert!((f64::from(*found) - expected).abs() < 3e-6, "{lengths:?}: {found}, expected {expected}");
        }
        let mut attended = vec![f32::NAN; found.len()];
        attend(lengths, heads, &qkv, &mut attended);
        for (found, expected) in attended.iter().zip(reference(&qkv, lengths, heads)) {
            assert!((f64::from(*found) - expected).abs() < 3e-6, "{lengths:?}: {found}, expected {expected}");
        }
        if let [length] = lengths {
            let mut alone = vec![f32::NAN; length * heads.hidden()];
            forward_one(&qkv, heads, &mut alone);
            assert_eq!(alone, found);
        }
    }
}

/// Covers each number of rows modulo those computed together, each number of registers of keys, and widths of a head that do not fill a
/// register.
#[test]
fn inference_matches_the_definition_for_every_length() {
    for size in [5, 16, 32, 40] {
        let heads = Heads { count: 2, size };
        for length in (1..=34).chain([47, 48, 49, 64, 80, 81, 130]) {
            let qkv = wave(length * 3 * heads.hidden(), length as f32);
            let mut found = vec![f32::NAN; length * heads.hidden()];
            attend(&[length], heads, &qkv, &mut found);
            for (found, expected) in found.iter().zip(reference(&qkv, &[length], heads)) {
                assert!((f64::from(*found) - expected).abs() < 3e-6, "{size} {length}: {found}, expected {expected}");
            }
        }
    }
}

/// Shorter and longer sequences leave other numbers in the buffers.
#[test]
fn inference_gives_a_sequence_the_same_bits_whatever_is_beside_it() {
    let heads = Heads { count: 3, size: 24 };
    let lengths = [7, 100, 33, 7, 16];
    let rows: usize = lengths.iter().sum();
    let qkv = wave(rows * 3 * heads.hidden(), 0.0);
    let mut all = vec![f32::NAN; rows * heads.hidden()];
    attend(&lengths, heads, &qkv, &mut all);
    let mut first = 0;
    for length in lengths {
        let [of_qkv, of_out] =
            [3 * heads.hidden(), heads.hidden()].map(|width| first * width..(first + length) * width);
        let mut alone = vec![f32::NAN; of_out.len()];
        attend(&[length], heads, &qkv[of_qkv], &mut alone);
        assert_eq!(alone, all[of_out], "{length}");
        first += length;
    }
    let threads = threads::count();
    threads::set(3);
    let mut again = vec![f32::NAN; all.len()];
    attend(&lengths, heads, &qkv, &mut again);
    threads::set(threads);
    assert_eq!(again, all);
}

/// Scores far from 0 on both sides, and rows with NaN or infinite numbers.
#[test]
fn inference_hides_no_number_that_is_not_finite() {
    let heads = Heads { count: 1, size: 4 };
    let run = |place: usize, value: f32| {
        let mut qkv = wave(20 * 12, 0.0);
        qkv[place] = value;
        let mut out = vec![0.0; 20 * 4];
        attend(&[20], heads, &qkv, &mut out);
        out
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let of_query = run(5 * 12 + 1, bad);
        for (row, out) in of_query.chunks_exact(4).enumerate() {
            assert!(out.iter().all(|x| x.is_nan() == (row == 5)), "{bad} in query 5, row {row}: {out:?}");
        }
        let of_value = run(7 * 12 + 8, bad);
        assert!(of_value.chunks_exact(4).all(|out| !out[0].is_finite() && out[1].is_finite()), "{bad}: {of_value:?}");
    }
    assert!(run(7 * 12 + 4, f32::NAN).iter().all(|x| x.is_nan())); // in a key
    for far in [1e4, -1e4] {
        assert!(run(3 * 12, far).iter().all(|x| x.is_finite()), "{far}");
    }
}

/// With a fixed key, dropout is a fixed linear map of the weights, so central differences include it.
#[test]
fn the_gradient_matches_central_differences() {
    for dropout in [None, Dropout::new(0.4, Some(9))] {
        let batch = Batch { lengths: &[18, 3], heads: Heads { count: 2, size: 8 }, dropout };
        let (qkv, grad, direction) = (wave(21 * 48, 0.0), wave(21 * 16, 1.0), wave(21 * 48, 2.0));
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
        let value = |step: f32| {
            let shifted: Vec<f32> = qkv.iter().zip(&direction).map(|(x, d)| x + d * step).collect();
            dot(&forward(&batch, &shifted).0, &grad)
        };
        let (_, softmax) = forward(&batch, &qkv);
        let found = dot(&backward(&batch, &grad, &qkv, &softmax), &direction);
        let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
        assert!((found - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{found} against {slope}, {dropout:?}");
    }
}

#[test]
fn bf16_differs_from_f32_only_by_rounding() {
    let batch = Batch { lengths: &[20, 11, 5], heads: Heads { count: 2, size: 16 }, dropout: None };
    let rounded = |len, shift| -> Vec<bf16> { wave(len, shift).into_iter().map(Float::from_f32).collect() };
    let wide = |x: &[bf16]| -> Vec<f32> { x.iter().map(|x| Float::to_f32(*x)).collect() };
    let (qkv, grad) = (rounded(36 * 96, 0.0), rounded(36 * 32, 1.0));
    let (out, softmax) = forward(&batch, &qkv);
    let back = backward(&batch, &grad, &qkv, &softmax);
    let (exact_out, exact_softmax) = forward(&batch, &wide(&qkv));
    let exact_back = backward(&batch, &wide(&grad), &wide(&qkv), &exact_softmax);
    for (found, exact) in [(out, exact_out), (back, exact_back)] {
        for (found, exact) in found.into_iter().zip(exact) {
            // The result is rounded once, by at most half a unit of the eighth binary digit.
            let off = (Float::to_f32(found) - exact).abs() / (exact.abs() + 1e-6);
            assert!(off < 1.0 / 256.0, "{found}, expected {exact}");
        }
    }
}

/// Each sequence and each head drops different weights. With all values 1 and no dropout, every output would be 1.
#[test]
fn sequences_and_heads_drop_different_weights() {
    let heads = Heads { count: 2, size: 4 };
    let batch = Batch { lengths: &[16, 16], heads, dropout: Dropout::new(0.5, Some(1)) };
    let (out, _) = forward(&batch, &[1.0_f32; 32 * 24]);
    let part = |row: usize, column: usize| -> Vec<f32> { (row..row + 16).map(|row| out[row * 8 + column]).collect() };
    let parts = [part(0, 0), part(0, 4), part(16, 0), part(16, 4)];
    for (i, one) in parts.iter().enumerate() {
        assert!((one.iter().sum::<f32>() / 16.0 - 1.0).abs() < 0.3, "{one:?}");
        assert!(parts[..i].iter().all(|other| one != other));
    }
}

#[test]
#[should_panic(expected = "entries of the slices of 2 rows")]
fn slices_that_do_not_fit_are_refused() {
    forward(&Batch { lengths: &[2], heads: Heads { count: 1, size: 4 }, dropout: None }, &[0.0_f32; 23]);
}
