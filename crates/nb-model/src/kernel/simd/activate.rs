//! Activations on vector registers.

use pulp::Simd;

use super::exp;
use crate::config::Activation;

/// erf by Abramowitz and Stegun 7.1.26, 1 − t·P(t)·e^(−x²) with t = 1/(1 + p·x), from the highest power; the error is below
/// 1.5·10⁻⁷.
const ERF_P: f32 = 0.327_591_1;
const ERF: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6];
/// Of GELU's tanh approximation: √(2/π) and the factor of x³.
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;

/// f(x) entry by entry.
#[inline(always)]
pub(crate) fn activate<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> S::f32s {
    let splat = |v| simd.splat_f32s(v);
    match activation {
        Activation::Gelu => {
            let erf = erf(simd, simd.mul_f32s(x, splat(std::f32::consts::FRAC_1_SQRT_2)));
            simd.mul_f32s(simd.mul_f32s(splat(0.5), x), simd.add_f32s(splat(1.0), erf))
        }
        Activation::GeluNew => {
            let cube = simd.mul_f32s(simd.mul_f32s(x, x), x);
            let inner = simd.mul_f32s(splat(TANH_SCALE), simd.mul_add_e_f32s(splat(TANH_CUBE), cube, x));
            // (1 + tanh u)/2 = σ(2u)
            simd.mul_f32s(x, sigmoid(simd, simd.mul_f32s(splat(2.0), inner)))
        }
        Activation::Relu => simd.max_f32s(x, splat(0.0)),
        Activation::Silu => simd.mul_f32s(x, sigmoid(simd, x)),
    }
}

/// 1/(1 + e^−x)
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

#[inline(always)]
fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |v| simd.splat_f32s(v);
    let size = simd.abs_f32s(x);
    let t = simd.div_f32s(splat(1.0), simd.mul_add_e_f32s(splat(ERF_P), size, splat(1.0)));
    let mut value = splat(ERF[0]);
    for coefficient in &ERF[1..] {
        value = simd.mul_add_e_f32s(value, t, splat(*coefficient));
    }
    let gauss = exp(simd, simd.neg_f32s(simd.mul_f32s(size, size)));
    let value = simd.sub_f32s(splat(1.0), simd.mul_f32s(simd.mul_f32s(value, t), gauss));
    simd.or_f32s(value, simd.and_f32s(splat(-0.0), x)) // erf is odd: the sign of x
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;
    use tch::{Kind, Tensor};

    use super::*;
    use crate::kernel::simd::{ALIGN, dispatch};

    struct Map<'a>(Activation, &'a mut [f32]);

    impl WithSimd for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for v in S::as_mut_simd_f32s(self.1).0 {
                *v = activate(simd, self.0, *v);
            }
        }
    }

    /// Up to the digits of f32 for numbers as large as x: GELU's far left end, nearly 0, has fewer of its own.
    #[test]
    fn each_is_libtorchs_up_to_a_part_of_x() {
        let xs: Vec<f32> = (0..ALIGN * 1000).map(|i| -12.0 + 24.0 * i as f32 / (ALIGN * 1000) as f32).collect();
        let x = Tensor::from_slice(&xs).to_kind(Kind::Double);
        for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
            let mut found = xs.clone();
            dispatch(Map(activation, &mut found));
            let off = (Tensor::from_slice(&found) - activation.forward(&x)).abs();
            let allowed = x.abs() * 4e-7 + 1e-7;
            assert!((off - allowed).max().double_value(&[]) < 0.0, "{activation:?}");
        }
    }
}
