//! The numbers that are multiplied here, and the instructions for each kind of them.
#![expect(unsafe_code, reason = "functions compiled for instructions that were asked for")]

use std::cell::Cell;
use std::ops::Range;
use std::sync::LazyLock;
use std::thread::LocalKey;

use half::bf16;

#[cfg(target_arch = "x86_64")]
use super::tile::sum_by;
use super::tile::{Dots, Left, Tile};
use crate::host::Element;

/// Numbers that lie in words of 32 bits: as many neighbours along the sum as fit into one are multiplied by one instruction.
pub(crate) trait Number: Element + std::fmt::Debug + 'static {
    /// How many those are.
    const IN_WORD: usize;
    const ZERO: Self;

    /// What multiplies them, where that is this processor's fastest way.
    fn dots() -> Option<&'static Dots<Self>>;

    /// Where a thread keeps its panels: new memory is zeroed, which takes as long as packing.
    fn room() -> &'static LocalKey<Cell<Vec<Self>>>;

    /// `columns` of [`Self::IN_WORD`] rows of `n` numbers, the last of which may be missing, as a word each.
    fn interleave(rows: &[Self], n: usize, columns: Range<usize>, words: &mut [Self]);

    /// The sums of a tile, as [`Dots::tile`] has them.
    ///
    /// # Safety
    /// The processor has what [`Self::dots`] asks for. `left` has `words` words in each of its rows, of which there is one at
    /// least; `right` points to `words` steps.
    unsafe fn sum(left: Left<'_, Self>, right: *const Self, words: usize, sums: &mut Tile);
}

/// Pairs, by AVX-512 BF16.
impl Number for bf16 {
    const IN_WORD: usize = 2;
    const ZERO: Self = Self::ZERO;

    fn dots() -> Option<&'static Dots<Self>> {
        // SAFETY: asked for in the same line.
        static DOTS: LazyLock<Option<Dots<bf16>>> =
            LazyLock::new(|| processor::multiplies_bf16().then(|| unsafe { Dots::new() }));
        DOTS.as_ref()
    }

    fn room() -> &'static LocalKey<Cell<Vec<Self>>> {
        thread_local!(static ROOM: Cell<Vec<bf16>> = const { Cell::new(Vec::new()) });
        &ROOM
    }

    #[inline(always)]
    fn interleave(rows: &[Self], n: usize, columns: Range<usize>, words: &mut [Self]) {
        let (upper, lower) = rows.split_at(n);
        let upper = &upper[columns.clone()];
        match lower.get(columns) {
            Some(lower) => {
                for (pair, (upper, lower)) in words.chunks_exact_mut(2).zip(upper.iter().zip(lower)) {
                    pair[0] = *upper;
                    pair[1] = *lower;
                }
            }
            None => {
                for (pair, upper) in words.chunks_exact_mut(2).zip(upper) {
                    pair[0] = *upper;
                    pair[1] = Self::ZERO;
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn sum(left: Left<'_, Self>, right: *const Self, words: usize, sums: &mut Tile) {
        use std::arch::x86_64::{__m512bh, __m512i, _mm512_dpbf16_ps};

        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn compiled(left: Left<'_, bf16>, right: *const bf16, words: usize, sums: &mut Tile) {
            // SAFETY: both are 512 bits without a meaning of their own.
            let pairs = |bits: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) };
            // SAFETY: as the caller says.
            unsafe { sum_by(left, right, words, sums, |sum, x, y| _mm512_dpbf16_ps(sum, pairs(x), pairs(y))) }
        }
        // SAFETY: as the caller says.
        unsafe { compiled(left, right, words, sums) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn sum(_: Left<'_, Self>, _: *const Self, _: usize, _: &mut Tile) {
        unreachable!("instructions of another processor")
    }
}

/// One at a time, by AVX-512.
impl Number for f32 {
    const IN_WORD: usize = 1;
    const ZERO: Self = 0.0;

    fn dots() -> Option<&'static Dots<Self>> {
        // SAFETY: asked for in the same line.
        static DOTS: LazyLock<Option<Dots<f32>>> =
            LazyLock::new(|| processor::multiplies_f32().then(|| unsafe { Dots::new() }));
        DOTS.as_ref()
    }

    fn room() -> &'static LocalKey<Cell<Vec<Self>>> {
        thread_local!(static ROOM: Cell<Vec<f32>> = const { Cell::new(Vec::new()) });
        &ROOM
    }

    #[inline(always)]
    fn interleave(row: &[Self], _: usize, columns: Range<usize>, words: &mut [Self]) {
        words.copy_from_slice(&row[columns]);
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn sum(left: Left<'_, Self>, right: *const Self, words: usize, sums: &mut Tile) {
        use std::arch::x86_64::{_mm512_castsi512_ps, _mm512_fmadd_ps};

        #[target_feature(enable = "avx512f")]
        unsafe fn compiled(left: Left<'_, f32>, right: *const f32, words: usize, sums: &mut Tile) {
            let fused = |sum, x, y| _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(y), sum);
            // SAFETY: as the caller says.
            unsafe { sum_by(left, right, words, sums, fused) }
        }
        // SAFETY: as the caller says.
        unsafe { compiled(left, right, words, sums) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn sum(_: Left<'_, Self>, _: *const Self, _: usize, _: &mut Tile) {
        unreachable!("instructions of another processor")
    }
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::is_x86_feature_detected;

    /// Pairs of bf16, and nothing faster.
    pub(super) fn multiplies_bf16() -> bool {
        /// Of leaf 7: multiplication of whole tiles (AMX), which oneDNN has and these kernels have not.
        const TILES: u32 = 1 << 22;
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
            && __cpuid_count(7, 0).edx & TILES == 0
    }

    /// f32 on registers of 512 bits, which MKL, libtorch's BLAS, keeps to Intel's processors.
    pub(super) fn multiplies_f32() -> bool {
        /// "Genu", the first letters of the vendor's name.
        const INTEL: u32 = u32::from_le_bytes(*b"Genu");
        is_x86_feature_detected!("avx512f") && __cpuid(0).ebx != INTEL
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod processor {
    pub(super) fn multiplies_bf16() -> bool {
        false
    }

    pub(super) fn multiplies_f32() -> bool {
        false
    }
}
