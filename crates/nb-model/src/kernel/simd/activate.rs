//! Activations on vector registers.

use pulp::Simd;

use super::exp;
use crate::config::Activation;

/// erf by Abramowitz and Stegun 7.1.26, 1 − t·P(t)·e^(−x²) with t = 1/(1 + p·x), from the highest power; the error is below
/// 1.5·10⁻⁷.
const ERF_P: f32 = 0.327_591_1;
const ERF: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6];
/// e to the power of what is below it is 0 beside 1, and times a small number not normal, which takes processors long.
const LOWEST: f32 = -80.0;
/// The standard normal density at 0, 1/√(2π).
const DENSITY: f32 = 0.398_942_3;
/// Of GELU's tanh approximation: √(2/π) and the factor of x³.
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;

/// f(x) entry by entry.
#[inline(always)]
pub(crate) fn activate<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> S::f32s {
    value_and_slope(simd, activation, x).0
}

/// f(x) and f′(x) entry by entry; what is not used of them costs nothing.
#[inline(always)]
pub(crate) fn value_and_slope<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |v| simd.splat_f32s(v);
    match activation {
        Activation::Gelu => {
            let (below, gauss) = normal(simd, x);
            // Φ(x) + x·φ(x)
            let slope = simd.mul_add_e_f32s(simd.mul_f32s(x, splat(DENSITY)), gauss, below);
            (simd.mul_f32s(x, below), slope)
        }
        Activation::GeluNew => {
            let square = simd.mul_f32s(x, x);
            let inner = simd.mul_add_e_f32s(splat(TANH_CUBE), simd.mul_f32s(square, x), x);
            let inner = simd.mul_f32s(splat(TANH_SCALE), inner);
            // (1 + tanh u)/2 = σ(2u)
            let s = sigmoid(simd, simd.mul_f32s(splat(2.0), inner));
            let steep = simd.mul_add_e_f32s(splat(3.0 * TANH_CUBE), square, splat(1.0));
            let steep = simd.mul_f32s(splat(2.0 * TANH_SCALE), steep);
            (simd.mul_f32s(x, s), rising(simd, s, simd.mul_f32s(x, steep)))
        }
        Activation::Relu => {
            let positive = simd.less_than_f32s(splat(0.0), x);
            let negative = simd.less_than_f32s(x, splat(0.0)); // what is no number is neither
            (simd.select_f32s(negative, splat(0.0), x), simd.select_f32s(positive, splat(1.0), splat(0.0)))
        }
        Activation::Silu => {
            let s = sigmoid(simd, x);
            (simd.mul_f32s(x, s), rising(simd, s, x))
        }
    }
}

/// s + x·s·(1 − s)
#[inline(always)]
fn rising<S: Simd>(simd: S, s: S::f32s, x: S::f32s) -> S::f32s {
    let rest = simd.sub_f32s(simd.splat_f32s(1.0), s);
    simd.mul_add_e_f32s(simd.mul_f32s(x, s), rest, s)
}

/// 1/(1 + e^−x)
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// Φ(x), the standard normal distribution, and e^(−x²/2).
#[inline(always)]
fn normal<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |v| simd.splat_f32s(v);
    let size = simd.mul_f32s(simd.abs_f32s(x), splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div_f32s(splat(1.0), simd.mul_add_e_f32s(splat(ERF_P), size, splat(1.0)));
    let mut value = splat(ERF[0]);
    for coefficient in &ERF[1..] {
        value = simd.mul_add_e_f32s(value, t, splat(*coefficient));
    }
    let gauss = exp(simd, simd.max_f32s(simd.neg_f32s(simd.mul_f32s(size, size)), splat(LOWEST)));
    let erf = simd.sub_f32s(splat(1.0), simd.mul_f32s(simd.mul_f32s(value, t), gauss));
    let erf = simd.or_f32s(erf, simd.and_f32s(splat(-0.0), x)); // odd: the sign of x
    (simd.mul_add_e_f32s(splat(0.5), erf, splat(0.5)), gauss)
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;
    use tch::{Kind, Tensor};

    use super::*;
    use crate::kernel::activation::TensorActivation;
    use crate::kernel::simd::{ALIGN, dispatch};

    /// f(x) in place of x, and f′(x).
    struct Map<'a>(Activation, &'a mut [f32], &'a mut [f32]);

    impl WithSimd for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for (x, slope) in S::as_mut_simd_f32s(self.1).0.iter_mut().zip(S::as_mut_simd_f32s(self.2).0) {
                let value = activate(simd, self.0, *x);
                *slope = value_and_slope(simd, self.0, *x).1;
                *x = value;
            }
        }
    }

    /// Up to the digits of f32 for numbers as large as x: GELU's far left end, nearly 0, has fewer of its own.
    #[test]
    fn each_is_libtorchs_up_to_a_part_of_x() {
        let xs: Vec<f32> = (0..ALIGN * 1000).map(|i| -12.0 + 24.0 * i as f32 / (ALIGN * 1000) as f32).collect();
        let x = Tensor::from_slice(&xs).to_kind(Kind::Double);
        for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
            let (mut found, mut slopes) = (xs.clone(), vec![f32::NAN; xs.len()]);
            dispatch(Map(activation, &mut found, &mut slopes));
            let slope = activation.backward(&x.ones_like(), &x);
            for (found, expected, least) in [(found, activation.forward(&x), 1e-7), (slopes, slope, 4e-7)] {
                let off = (Tensor::from_slice(&found) - expected).abs();
                let allowed = x.abs() * 4e-7 + least;
                assert!((off - allowed).max().double_value(&[]) < 0.0, "{activation:?}");
            }
        }
    }

    #[test]
    fn far_ends_and_what_is_no_number_are_libtorchs() {
        let xs = [-100.0, -20.0, -13.0, 13.0, 20.0, 88.0, f32::NAN, 0.0];
        for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
            let mut found = [0.0; ALIGN];
            found[..xs.len()].copy_from_slice(&xs);
            dispatch(Map(activation, &mut found, &mut [0.0; ALIGN]));
            for (x, found) in xs.into_iter().zip(found) {
                let expected = activation.forward(&Tensor::from_slice(&[f64::from(x)])).double_value(&[0]);
                let off = (f64::from(found) - expected).abs();
                assert!(
                    off <= 1e-6 * f64::from(x.abs()) || x.is_nan() && found.is_nan(),
                    "{activation:?} {x}: {found}"
                );
            }
        }
    }
}
