//! Activations on vector registers.

use pulp::{Simd, WithSimd};

use super::dispatch::{ALIGN, dispatch};
use super::exp::{exp, exp_in_range};
use crate::activation::Activation;

/// erf by Abramowitz and Stegun 7.1.26, 1 − t·P(t)·e^(−x²) with t = 1/(1 + p·x), highest power first; the error is less than
/// 1.5·10⁻⁷.
const ERF_P: f32 = 0.327_591_1;
const ERF: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6];
/// The smallest exponent: e to a lower power adds nothing to 1, and its products with small numbers would be subnormal, which
/// slows processors down.
const LOWEST: f32 = -80.0;
/// The standard normal density at 0, 1/√(2π).
const DENSITY: f32 = 0.398_942_3;
/// Constants of GELU's tanh approximation: √(2/π) and the factor of x³.
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;

impl Activation {
    /// Replaces each entry x by f(x), on the calling thread.
    pub fn apply(self, x: &mut [f32]) {
        dispatch(Apply { activation: self, x });
    }
}

/// Computes tanh x = 2σ(2x) − 1 entry by entry; the error is below 3·10⁻⁷.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let two = simd.splat_f32s(2.0);
    simd.mul_add_e_f32s(two, sigmoid(simd, simd.mul_f32s(two, x)), simd.splat_f32s(-1.0))
}

struct Apply<'a> {
    activation: Activation,
    x: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (blocks, rest) = self.x.as_chunks_mut::<ALIGN>();
        for block in blocks {
            apply_block(simd, self.activation, block);
        }
        let mut block = [0.0; ALIGN];
        block[..rest.len()].copy_from_slice(rest);
        apply_block(simd, self.activation, &mut block);
        rest.copy_from_slice(&block[..rest.len()]);
    }
}

#[inline(always)]
fn apply_block<S: Simd>(simd: S, activation: Activation, block: &mut [f32; ALIGN]) {
    for x in S::as_mut_simd_f32s(block).0 {
        *x = activate(simd, activation, *x);
    }
}

/// Computes f(x) entry by entry.
#[inline(always)]
pub(crate) fn activate<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> S::f32s {
    value_and_slope(simd, activation, x).0
}

/// Computes f(x) and f′(x) entry by entry. The compiler removes a result that the caller does not use.
#[inline(always)]
pub(crate) fn value_and_slope<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |v| simd.splat_f32s(v);
    match activation {
        Activation::Gelu => {
            let (cdf, gauss) = normal(simd, x);
            // Φ(x) + x·φ(x)
            let slope = simd.mul_add_e_f32s(simd.mul_f32s(x, splat(DENSITY)), gauss, cdf);
            (simd.mul_f32s(x, cdf), slope)
        }
        Activation::GeluTanh => {
            let square = simd.mul_f32s(x, x);
            let inner = simd.mul_add_e_f32s(splat(TANH_CUBE), simd.mul_f32s(square, x), x);
            let inner = simd.mul_f32s(splat(TANH_SCALE), inner);
            // (1 + tanh u)/2 = σ(2u)
            let s = sigmoid(simd, simd.mul_f32s(splat(2.0), inner));
            let inner_slope = simd.mul_add_e_f32s(splat(3.0 * TANH_CUBE), square, splat(1.0));
            let inner_slope = simd.mul_f32s(splat(2.0 * TANH_SCALE), inner_slope);
            (simd.mul_f32s(x, s), sigmoid_slope(simd, s, simd.mul_f32s(x, inner_slope)))
        }
        Activation::Relu => {
            let positive = simd.less_than_f32s(splat(0.0), x);
            let negative = simd.less_than_f32s(x, splat(0.0)); // NaN is neither
            (simd.select_f32s(negative, splat(0.0), x), simd.select_f32s(positive, splat(1.0), splat(0.0)))
        }
        Activation::Silu => {
            let s = sigmoid(simd, x);
            (simd.mul_f32s(x, s), sigmoid_slope(simd, s, x))
        }
    }
}

/// Computes s + x·s·(1 − s), the slope of x·σ(x) where s = σ(x).
#[inline(always)]
fn sigmoid_slope<S: Simd>(simd: S, s: S::f32s, x: S::f32s) -> S::f32s {
    let rest = simd.sub_f32s(simd.splat_f32s(1.0), s);
    simd.mul_add_e_f32s(simd.mul_f32s(x, s), rest, s)
}

/// Computes 1/(1 + e^−x).
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// Computes Φ(x), the standard normal distribution, and e^(−x²/2).
#[inline(always)]
fn normal<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |v| simd.splat_f32s(v);
    let size = simd.mul_f32s(simd.abs_f32s(x), splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div_f32s(splat(1.0), simd.mul_add_e_f32s(splat(ERF_P), size, splat(1.0)));
    let mut value = splat(ERF[0]);
    for coefficient in &ERF[1..] {
        value = simd.mul_add_e_f32s(value, t, splat(*coefficient));
    }
    let gauss = exp_in_range(simd, simd.max_f32s(simd.neg_f32s(simd.mul_f32s(size, size)), splat(LOWEST)));
    let erf = simd.sub_f32s(splat(1.0), simd.mul_f32s(simd.mul_f32s(value, t), gauss));
    let erf = simd.or_f32s(erf, simd.and_f32s(splat(-0.0), x)); // odd: the sign of x
    (simd.mul_add_e_f32s(splat(0.5), erf, splat(0.5)), gauss)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 4] = [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu];

    /// Replaces x by f(x), and writes f′(x).
    struct Map<'a> {
        activation: Activation,
        x: &'a mut [f32],
        slopes: &'a mut [f32],
    }

    impl WithSimd for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for (x, slope) in S::as_mut_simd_f32s(self.x).0.iter_mut().zip(S::as_mut_simd_f32s(self.slopes).0) {
                let value = activate(simd, self.activation, *x);
                *slope = value_and_slope(simd, self.activation, *x).1;
                *x = value;
            }
        }
    }

    /// Φ(x) to the precision of f64: ½ + φ(x)·Σ x^(2n+1)/(2n+1)!!, a series without cancellation.
    fn normal_distribution(x: f64) -> f64 {
        if x.abs() > 30.0 {
            return if x > 0.0 { 1.0 } else { 0.0 };
        }
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            term *= x * x / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        0.5 + density(x) * sum
    }

    fn density(x: f64) -> f64 {
        (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    /// f(x) and f′(x) by the definition.
    fn reference(activation: Activation, x: f64) -> [f64; 2] {
        match activation {
            Activation::Gelu => [x * normal_distribution(x), normal_distribution(x) + x * density(x)],
            Activation::GeluTanh => {
                let scale = (2.0 / std::f64::consts::PI).sqrt();
                let tanh = (scale * (x + 0.044715 * x.powi(3))).tanh();
                let slope = (1.0 - tanh * tanh) * scale * (1.0 + 3.0 * 0.044715 * x * x);
                [0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * slope]
            }
            Activation::Relu if x.is_nan() => [x, 0.0],
            Activation::Relu => [x.max(0.0), f64::from(u8::from(x > 0.0))],
            Activation::Silu => {
                let s = 1.0 / (1.0 + (-x).exp());
                [x * s, s + x * s * (1.0 - s)]
            }
        }
    }

    /// Errors are relative to x, in f32 precision: GELU's far left tail, nearly 0, has fewer correct digits.
    #[test]
    fn each_matches_the_definition_relative_to_x() {
        let xs: Vec<f32> = (0..ALIGN * 1000).map(|i| -12.0 + 24.0 * i as f32 / (ALIGN * 1000) as f32).collect();
        for activation in ALL {
            let (mut values, mut slopes) = (xs.clone(), vec![f32::NAN; xs.len()]);
            dispatch(Map { activation, x: &mut values, slopes: &mut slopes });
            for (i, x) in xs.iter().enumerate() {
                let [value, slope] = reference(activation, f64::from(*x));
                let allowed = f64::from(x.abs()) * 4e-7;
                assert!((f64::from(values[i]) - value).abs() < allowed + 1e-7, "{activation:?} {x}: {}", values[i]);
                assert!((f64::from(slopes[i]) - slope).abs() < allowed + 4e-7, "{activation:?} {x}: {}", slopes[i]);
            }
        }
    }

    #[test]
    fn tails_and_nan_match_the_definition() {
        let xs = [-100.0, -20.0, -13.0, 13.0, 20.0, 88.0, f32::NAN, 0.0];
        for activation in ALL {
            let mut found = [0.0; ALIGN];
            found[..xs.len()].copy_from_slice(&xs);
            dispatch(Map { activation, x: &mut found, slopes: &mut [0.0; ALIGN] });
            for (x, found) in xs.into_iter().zip(found) {
                let [expected, _] = reference(activation, f64::from(x));
                let off = (f64::from(found) - expected).abs();
                let is_close = off <= 1e-6 * f64::from(x.abs()) || x.is_nan() && found.is_nan();
                assert!(is_close, "{activation:?} {x}: {found}");
            }
        }
    }

    #[test]
    fn an_entry_does_not_depend_on_its_position() {
        let xs = nb_testing::wave(ALIGN + 3, 0.0);
        let mut all = xs.clone();
        Activation::Gelu.apply(&mut all);
        for (x, expected) in xs.into_iter().zip(all) {
            let mut alone = [x];
            Activation::Gelu.apply(&mut alone);
            assert_eq!(alone[0], expected, "f({x})");
        }
    }
}
