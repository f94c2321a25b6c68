//! The number formats that kernels read and write.

use half::bf16;

/// A number format of the kernels' inputs and outputs: f32 or bf16. The kernels compute in f32.
pub trait Float: Copy + std::fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// Bits of a number.
    const BITS: usize;
    /// The number 0.
    const ZERO: Self;

    /// Returns the same number as f32.
    fn to_f32(self) -> f32;

    /// Returns the nearest number of this format, with ties to even.
    fn from_f32(value: f32) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
}

impl Float for f32 {
    const BITS: usize = 32;
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Float for bf16 {
    const BITS: usize = 16;
    const ZERO: Self = Self::ZERO;

    /// Written by hand: the method of `half` first checks for NaN, which prevents vectorisation of the loop.
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// Rounds ties to even, as libtorch does. Written by hand, since the method of `half` is not inlined for every processor.
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        Self::from_bits(if value.is_nan() { 0x7fc0 } else { rounded as u16 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_as_half_does() {
        let values = [0.0, -0.0, 1.0, 1.003_906_3, 1.011_718_8, -2.468_013_6, 1e-40, f32::MAX, f32::INFINITY, f32::NAN];
        for value in values {
            let (found, expected) = (<bf16 as Float>::from_f32(value), bf16::from_f32(value));
            assert!(found.to_bits() == expected.to_bits() || value.is_nan() && found.is_nan(), "{value}: {found}");
            let (wide, expected) = (Float::to_f32(found), found.to_f32());
            assert!(wide == expected || wide.is_nan() && expected.is_nan(), "{value}: {wide}, expected {expected}");
        }
    }
}
