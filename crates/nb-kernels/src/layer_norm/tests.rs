//! Comparison with the definition.

use half::bf16;
use nb_testing::wave;

use super::*;

/// y, x̂ and 1/√(var + ε) of x + residual by the definition, in f64.
fn reference(x: &[f32], residual: &[f32], parameters: &Parameters<'_>) -> [Vec<f64>; 3] {
    let h = parameters.weight.len();
    let [mut out, mut normalised, mut inverses] = [const { Vec::new() }; 3];
    for (x, residual) in x.chunks_exact(h).zip(residual.chunks_exact(h)) {
        let r: Vec<f64> = (0..h).map(|i| f64::from(x[i]) + f64::from(residual[i])).collect();
        let mean = r.iter().sum::<f64>() / h as f64;
        let variance = r.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / h as f64;
        let inverse = 1.0 / (variance + parameters.eps).sqrt();
        for (i, r) in r.into_iter().enumerate() {
            normalised.push((r - mean) * inverse);
            let y = (r - mean) * inverse * f64::from(parameters.weight[i]) + f64::from(parameters.bias[i]);
            out.push(y);
        }
        inverses.push(inverse);
    }
    [out, normalised, inverses]
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{i}: {found}, {expected}");
    }
}

#[derive(Debug, PartialEq)]
struct Results<T> {
    out: Vec<f32>,
    normalised: Vec<f32>,
    inverse: Vec<f32>,
    low: Vec<T>,
}

fn forward<T: Float>(x: &[T], residual: &[f32], p: &Parameters<'_>, dropout: Option<Dropout>) -> Results<T> {
    let n = x.len();
    let mut all = Results {
        out: vec![f32::NAN; n],
        normalised: vec![f32::NAN; n],
        inverse: vec![f32::NAN; n / p.weight.len()],
        low: vec![T::ZERO; n],
    };
    let Results { out, normalised, inverse, low } = &mut all;
    Forward { x, residual, out, normalised, inverse_deviation: inverse, low }.run(p, dropout);
    all
}

/// Uses 70 rows of 37 units, which fill neither pieces nor lanes.
#[test]
fn the_forward_pass_matches_the_definition() {
    let (x, residual) = (wave(70 * 37, 0.0), wave(70 * 37, 1.0));
    let (weight, bias) = (wave(37, 2.0), wave(37, 3.0));
    let parameters = Parameters { weight: &weight, bias: &bias, eps: 1e-12 };
    let [out, normalised, inverses] = reference(&x, &residual, &parameters);
    let found = forward(&x, &residual, &parameters, None);
    assert_close(&found.out, &out);
    assert_close(&found.normalised, &normalised);
    assert_close(&found.inverse, &inverses);
    assert_eq!(found.low, found.out);

    let mut in_place = x;
    normalise_sum(&mut in_place, &residual, &parameters);
    assert_eq!(in_place, found.out);
}

/// Comparison with central differences of the definition in f64.
#[test]
fn the_backward_pass_matches_central_differences() {
    const H: usize = 5;
    let (x, residual, grad) = (wave(3 * H, 0.0), wave(3 * H, 1.0), wave(3 * H, 4.0));
    let (weight, bias) = (wave(H, 2.0), wave(H, 3.0));
    let loss = |residual: &[f32], weight: &[f32], bias: &[f32]| -> f64 {
        let [out, ..] = reference(&x, residual, &Parameters { weight, bias, eps: 1e-12 });
        out.iter().zip(&grad).map(|(y, g)| y * f64::from(*g)).sum()
    };
    let slope = |values: &[f32], loss: &dyn Fn(&[f32]) -> f64| -> Vec<f64> {
        let shifted = |i: usize, step: f32| {
            let mut values = values.to_vec();
            values[i] += step;
            (f64::from(values[i]), loss(&values))
        };
        let difference = |i| {
            let ((low, before), (high, after)) = (shifted(i, -1e-3), shifted(i, 1e-3));
            (after - before) / (high - low)
        };
        (0..values.len()).map(difference).collect()
    };

    let parameters = Parameters { weight: &weight, bias: &bias, eps: 1e-12 };
    let tape = forward(&x, &residual, &parameters, None);
    let (mut residual_grad, mut x_grad) = (vec![f32::NAN; 3 * H], vec![f32::NAN; 3 * H]);
    let (mut weight_grad, mut bias_grad) = (vec![0.0; H], vec![0.0; H]);
    let backward = Backward {
        grad: &grad,
        normalised: &tape.normalised,
        inverse_deviation: &tape.inverse,
        residual_grad: &mut residual_grad,
        x_grad: &mut x_grad,
    };
    backward.run(&weight, None, &mut ParameterGrads { weight: &mut weight_grad, bias: &mut bias_grad });
    for (found, expected) in [
        (&residual_grad, slope(&residual, &|residual| loss(residual, &weight, &bias))),
        (&weight_grad, slope(&weight, &|weight| loss(&residual, weight, &bias))),
        (&bias_grad, slope(&bias, &|bias| loss(&residual, &weight, bias))),
    ] {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found}, {expected}");
        }
    }
    assert_eq!(x_grad, residual_grad);
}

#[test]
fn dropout_matches_a_separate_pass() {
    let dropout = Dropout::new(0.3, Some(5));
    for [rows, h] in [[70, 37], [33, 64], [0, 8]] {
        let x: Vec<bf16> = wave(rows * h, 0.0).into_iter().map(Float::from_f32).collect();
        let (residual, weight, bias) = (wave(rows * h, 1.0), wave(h, 2.0), wave(h, 3.0));
        let parameters = Parameters { weight: &weight, bias: &bias, eps: 1e-12 };
        let mut mask = vec![1.0_f32; rows * h];
        dropout.unwrap().apply(&mut mask);
        let dropped: Vec<f32> = x.iter().zip(&mask).map(|(x, mask)| Float::to_f32(*x) * mask).collect();
        let expected = forward(&dropped, &residual, &parameters, None);
        let found = forward(&x, &residual, &parameters, dropout);
        assert_eq!(found.out, expected.out, "{rows} {h}");
        let rounded: Vec<bf16> = expected.out.iter().map(|out| Float::from_f32(*out)).collect();
        assert_eq!(found.low, rounded, "{rows} {h}");
    }
}

#[test]
#[should_panic(expected = "entries of x, residual, out and normalised")]
fn slices_that_do_not_fit_are_refused() {
    let parameters = Parameters { weight: &[1.0; 2], bias: &[0.0; 2], eps: 1e-12 };
    forward(&[0.0; 4], &[0.0; 2], &parameters, None);
}
