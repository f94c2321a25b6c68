//! The exponential function on vector registers.

use pulp::Simd;

/// Below `LOWEST`, e^x is not a normal f32; above `HIGHEST`, it overflows.
const LOWEST: f32 = -87.3;
const HIGHEST: f32 = 88.3;
/// ln 2 in two parts; the first one times an integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1.5·2²³: adding it rounds to an integer, which the low bits of the sum then hold.
const ROUND: f32 = 12_582_912.0;
/// e^r − 1 − r over r², |r| ≤ ln 2 / 2, as in the Cephes library, highest power first.
const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// Computes e^x entry by entry, with a relative error below 2·10⁻⁷; x is clamped to −87.3 … 88.3. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let highest = simd.splat_f32s(HIGHEST);
    exp_of_low(simd, simd.select_f32s(simd.less_than_f32s(highest, x), highest, x))
}

/// Computes the same for x up to 88.3, which the caller guarantees, as in a softmax.
#[inline(always)]
pub(crate) fn exp_of_low<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Not the minimum and the maximum: whether those keep a NaN depends on the processor.
    let lowest = simd.splat_f32s(LOWEST);
    exp_in_range(simd, simd.select_f32s(simd.less_than_f32s(x, lowest), lowest, x))
}

/// Computes the same for x from −87.3 to 88.3, which the caller guarantees.
#[inline(always)]
pub(crate) fn exp_in_range<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |v| simd.splat_f32s(v);
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(shifted, splat(ROUND));
    let r = simd.mul_add_e_f32s(n, splat(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, splat(-LN_2_LOW), r);
    let mut value = splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        value = simd.mul_add_e_f32s(value, r, splat(*coefficient));
    }
    let value = simd.add_f32s(simd.mul_add_e_f32s(value, simd.mul_f32s(r, r), r), splat(1.0));
    // 2ⁿ: n in the bits of the exponent. The bits of `shifted` end in n, and the shift drops all others.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scale = simd.add_u32s(exponent, simd.splat_u32s(127 << 23));
    simd.mul_f32s(value, simd.transmute_f32s_u32s(scale))
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::simd::{ALIGN, dispatch};

    struct Map<'a>(&'a mut [f32]);

    impl WithSimd for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for v in S::as_mut_simd_f32s(self.0).0 {
                *v = exp(simd, *v);
            }
        }
    }

    #[test]
    fn exp_is_accurate_to_single_precision() {
        let xs: Vec<f32> = (0..ALIGN * 1000).map(|i| -87.0 + 175.0 * i as f32 / (ALIGN * 1000) as f32).collect();
        let mut found = xs.clone();
        dispatch(Map(&mut found));
        for (x, found) in xs.iter().zip(found) {
            let expected = f64::from(*x).exp();
            assert!((f64::from(found) / expected - 1.0).abs() < 2e-7, "e^{x}: {found}, expected {expected}");
        }
        let mut ends = [f32::NEG_INFINITY; ALIGN];
        ends[1] = 0.0;
        dispatch(Map(&mut ends));
        assert!(ends[0] < 1.3e-38 && ends[1] == 1.0, "{ends:?}");
        let mut nans = [f32::NAN; ALIGN];
        dispatch(Map(&mut nans));
        assert!(nans.iter().all(|v| v.is_nan()), "{nans:?}");
    }
}
