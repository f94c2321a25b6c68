//! The numbers that are multiplied here, and the instructions for each kind of them.
#![expect(unsafe_code, reason = "functions compiled for instructions that were asked for")]

use std::cell::Cell;
use std::ops::Range;
use std::sync::LazyLock;
use std::thread::LocalKey;

use half::bf16;
use pulp::WithSimd;

use super::tile::{COLUMNS, Dots, Left, Tile};
#[cfg(target_arch = "x86_64")]
use super::{pairs, tile::sum_by};
use crate::host::Element;
use crate::kernel::simd::dispatch;

/// Columns whose sums are made at once.
pub(super) const SUMS: usize = 16;

/// Columns of a matrix, row by row in memory.
pub(crate) struct Columns<'a, T> {
    pub(super) matrix: &'a [T],
    /// Of the whole matrix.
    pub(super) width: usize,
    pub(super) range: Range<usize>,
}

impl<'a, T> Columns<'a, T> {
    /// Part `index` of a matrix [k, `width`] where each has `most` columns, and the last one what is left.
    pub(super) fn part(matrix: &'a [T], width: usize, index: usize, most: usize) -> Self {
        let first = index * most;
        Self { matrix, width, range: first..width.min(first + most) }
    }
}

/// Numbers that lie in words of 32 bits: as many neighbours along the sum as fit into one are multiplied by one instruction.
///
/// Whoever has [`Dots`] of them runs on a processor with these instructions: only [`Self::dots`] makes any.
pub(crate) trait Number: Element + std::fmt::Debug + 'static {
    /// How many those are.
    const IN_WORD: usize;
    const ZERO: Self;

    /// What multiplies them, where that is this processor's fastest way.
    fn dots() -> Option<&'static Dots<Self>>;

    /// Where a thread keeps its panels: new memory is zeroed, which takes as long as packing.
    fn room() -> &'static LocalKey<Cell<Vec<Self>>>;

    /// Some columns as they are, as a step of `width` words for each [`Self::IN_WORD`] rows; 0 where there is no column or row.
    fn interleave(dots: Dots<Self>, columns: &Columns<'_, Self>, width: usize, words: &mut [Self]);

    /// Adds the sums of all columns of steps of `width` words, a multiple of [`SUMS`], to `sums`, of which there may be fewer.
    ///
    /// # Panics
    /// If the width is no such multiple, or there are more.
    fn add_sums(dots: Dots<Self>, words: &[Self], width: usize, sums: &mut [f32]);

    /// Rounds as many sums as there are entries of `out`; what is too small to be a normal number of bf16 becomes 0.
    fn put(dots: Dots<Self>, sums: &[f32; COLUMNS], out: &mut [Self]);

    /// Calls `kernel` compiled for all that the processor has, the instructions for these numbers among it.
    fn run<K: WithSimd>(dots: Dots<Self>, kernel: K) -> K::Output;

    /// The sums of a tile, as [`Dots::tile`] has them.
    ///
    /// # Safety
    /// The processor has what [`Self::dots`] asks for. `left` has `words` words in each of its rows, of which there is one at
    /// least; `right` points to `words` steps.
    unsafe fn sum(left: Left<'_, Self>, right: *const Self, words: usize, sums: &mut Tile);
}

fn check_sums(width: usize, sums: &[f32]) {
    assert!(width.is_multiple_of(SUMS) && sums.len() <= width, "{} sums of steps of {width} words", sums.len());
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

    fn interleave(_: Dots<Self>, columns: &Columns<'_, Self>, width: usize, words: &mut [Self]) {
        let there = columns.range.len();
        for (rows, step) in columns.matrix.chunks(2 * columns.width).zip(words.chunks_exact_mut(2 * width)) {
            let (upper, lower) = rows.split_at(columns.width);
            let (upper, lower) = (&upper[columns.range.clone()], lower.get(columns.range.clone()));
            let (step, beyond) = step.split_at_mut(2 * there);
            // SAFETY: there are `Dots`, so the processor has the instructions.
            unsafe { pairs::interleave(upper, lower, step) };
            beyond.fill(Self::ZERO);
        }
    }

    fn add_sums(_: Dots<Self>, words: &[Self], width: usize, sums: &mut [f32]) {
        check_sums(width, sums);
        // SAFETY: as above.
        unsafe { pairs::add_sums(words, width, sums) }
    }

    #[inline(always)]
    fn put(_: Dots<Self>, sums: &[f32; COLUMNS], out: &mut [Self]) {
        if let Ok(out) = out.try_into() {
            // SAFETY: as above.
            return unsafe { pairs::round(sums, out) };
        }
        let mut whole = [Self::ZERO; COLUMNS];
        // SAFETY: as above.
        unsafe { pairs::round(sums, &mut whole) };
        out.copy_from_slice(&whole[..out.len()]);
    }

    fn run<K: WithSimd>(_: Dots<Self>, kernel: K) -> K::Output {
        // SAFETY: as above.
        unsafe { pairs::run(kernel) }
    }

    #[inline(always)]
    unsafe fn sum(left: Left<'_, Self>, right: *const Self, words: usize, sums: &mut Tile) {
        // SAFETY: as the caller says.
        unsafe { pairs::sum(left, right, words, sums) }
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

    fn interleave(_: Dots<Self>, columns: &Columns<'_, Self>, width: usize, words: &mut [Self]) {
        for (row, step) in columns.matrix.chunks_exact(columns.width).zip(words.chunks_exact_mut(width)) {
            let (step, beyond) = step.split_at_mut(columns.range.len());
            step.copy_from_slice(&row[columns.range.clone()]);
            beyond.fill(0.0);
        }
    }

    fn add_sums(_: Dots<Self>, words: &[Self], width: usize, sums: &mut [f32]) {
        check_sums(width, sums);
        dispatch(|| {
            let mut own = vec![0.0; sums.len()];
            for step in words.chunks_exact(width) {
                own.iter_mut().zip(step).for_each(|(own, x)| *own += x);
            }
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        });
    }

    #[inline(always)]
    fn put(_: Dots<Self>, sums: &[f32; COLUMNS], out: &mut [Self]) {
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum);
    }

    fn run<K: WithSimd>(_: Dots<Self>, kernel: K) -> K::Output {
        dispatch(kernel)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sum(left: Left<'_, Self>, right: *const Self, words: usize, sums: &mut Tile) {
        use std::arch::x86_64::{_mm512_castsi512_ps, _mm512_fmadd_ps};

        #[inline]
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

/// Never called: on other processors nobody has [`Dots`].
#[cfg(not(target_arch = "x86_64"))]
mod pairs {
    use half::bf16;
    use pulp::WithSimd;

    use super::{COLUMNS, Left, Tile};

    pub(super) unsafe fn run<K: WithSimd>(_: K) -> K::Output {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn sum(_: Left<'_, bf16>, _: *const bf16, _: usize, _: &mut Tile) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn interleave(_: &[bf16], _: Option<&[bf16]>, _: &mut [bf16]) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn add_sums(_: &[bf16], _: usize, _: &mut [f32]) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn round(_: &[f32; COLUMNS], _: &mut [bf16; COLUMNS]) {
        unreachable!("instructions of another processor")
    }
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::is_x86_feature_detected;

    use pulp::x86::V4;

    /// Pairs of bf16, and nothing faster.
    pub(super) fn multiplies_bf16() -> bool {
        /// Of leaf 7: multiplication of whole tiles (AMX), which oneDNN has and these kernels have not.
        const TILES: u32 = 1 << 22;
        V4::try_new().is_some() && is_x86_feature_detected!("avx512bf16") && __cpuid_count(7, 0).edx & TILES == 0
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
