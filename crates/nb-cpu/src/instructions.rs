//! The instructions that decide which kernels multiply matrices.

use std::fmt;

/// The kernels that multiply matrices of a number format on this processor. The choice depends on the processor alone, never on
/// a measurement, so that a run is reproducible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// The kernels of `nb-kernels` on AVX-512, for f32.
    Avx512,
    /// The kernels of `nb-kernels` on AVX2 and FMA, for f32.
    Avx2,
    /// The kernels of `nb-kernels` on AVX-512 BF16, for bf16.
    Avx512Bf16,
    /// libtorch's libraries, oneDNN and MKL.
    Libtorch,
}

impl Products {
    /// Returns the kernels for f32. MKL, libtorch's library, multiplies at most as fast as `nb-kernels`, and in separate passes.
    pub fn of_f32() -> Self {
        match (has_avx512f(), has_avx2()) {
            (true, _) => Self::Avx512,
            (false, true) => Self::Avx2,
            (false, false) => Self::Libtorch,
        }
    }

    /// Returns the kernels for bf16. With AMX, which multiplies complete tiles, oneDNN is faster.
    pub fn of_bf16() -> Self {
        if has_avx512bf16() && !has_amx_bf16() { Self::Avx512Bf16 } else { Self::Libtorch }
    }
}

/// Reads like `AVX-512` or `libtorch`.
impl fmt::Display for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Avx512Bf16 => "AVX-512 BF16",
            Self::Libtorch => "libtorch",
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::is_x86_feature_detected;

    /// Returns true if the processor and the system support AVX2 and FMA, which products in f32 need at least.
    pub fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// Returns true if the processor and the system support AVX-512F, with which products in f32 are faster.
    pub fn has_avx512f() -> bool {
        is_x86_feature_detected!("avx512f")
    }

    /// Returns true if the processor and the system support AVX-512 BF16, which products in bf16 need.
    pub fn has_avx512bf16() -> bool {
        is_x86_feature_detected!("avx512bf16")
    }

    /// Returns true if the processor and the system support AVX-512 VNNI, with which products in int8 are fastest.
    pub fn has_avx512vnni() -> bool {
        is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") && has_avx512f()
    }

    /// Returns true if the processor and the system support AVX-VNNI, the products in int8 of processors without AVX-512.
    pub fn has_avxvnni() -> bool {
        is_x86_feature_detected!("avxvnni")
    }

    /// Returns true if the processor has AMX for bf16, instructions that multiply complete tiles, and the system has enabled
    /// it.
    pub fn has_amx_bf16() -> bool {
        /// The bit of AMX BF16 in leaf 7.
        const AMX_BF16: u32 = 1 << 22;
        __cpuid(0).eax >= STATES && __cpuid_count(7, 0).edx & AMX_BF16 != 0 && saves_tiles()
    }

    /// The leaf that describes the register states that the system saves when it switches threads.
    const STATES: u32 = 0xd;
    /// The number of the state of AMX's tiles.
    const TILES: u32 = 18;

    /// Returns true if the system saves AMX's tiles. A system that does not know them leaves them disabled, and the memory for the
    /// states that it saves ends before theirs.
    fn saves_tiles() -> bool {
        let tiles = __cpuid_count(STATES, TILES); // their size and offset
        let saved = __cpuid_count(STATES, 0).ebx;
        tiles.eax > 0 && saved >= tiles.ebx + tiles.eax
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod other {
    /// Returns false: the processor is not an x86-64.
    pub fn has_avx2() -> bool {
        false
    }

    /// Returns false: the processor is not an x86-64.
    pub fn has_avx512f() -> bool {
        false
    }

    /// Returns false: the processor is not an x86-64.
    pub fn has_avx512bf16() -> bool {
        false
    }

    /// Returns false: the processor is not an x86-64.
    pub fn has_avx512vnni() -> bool {
        false
    }

    /// Returns false: the processor is not an x86-64.
    pub fn has_avxvnni() -> bool {
        false
    }

    /// Returns false: the processor is not an x86-64.
    pub fn has_amx_bf16() -> bool {
        false
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub use other::{has_amx_bf16, has_avx2, has_avx512bf16, has_avx512f, has_avx512vnni, has_avxvnni};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{has_amx_bf16, has_avx2, has_avx512bf16, has_avx512f, has_avx512vnni, has_avxvnni};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_the_instructions_that_they_need() {
        assert!(Products::of_f32() != Products::Avx512 || has_avx512f());
        assert!(Products::of_f32() != Products::Avx2 || has_avx2() && !has_avx512f());
        assert!(Products::of_bf16() != Products::Avx512Bf16 || has_avx512bf16() && !has_amx_bf16());
    }
}
