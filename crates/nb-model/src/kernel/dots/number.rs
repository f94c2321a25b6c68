//! The numbers that are multiplied here, and the instructions for each kind of them.
#![expect(unsafe_code, reason = "functions compiled for instructions that were asked for")]

use std::cell::Cell;
use std::ops::Range;
use std::sync::LazyLock;
use std::thread::LocalKey;

use half::bf16;
use pulp::WithSimd;

#[cfg(target_arch = "x86_64")]
use super::tile::sum_by;
use super::tile::{COLUMNS, Dots, Left, Tile};
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
    fn add_sums(dots: Dots<Self>, words: &[Self], width: usize, sums: &mut [f32]);

    /// Rounds as many sums as there are entries of `out`.
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
        // SAFETY: as above.
        unsafe { pairs::add_sums(words, width, sums) }
    }

    #[inline(always)]
    fn put(_: Dots<Self>, sums: &[f32; COLUMNS], out: &mut [Self]) {
        match out.try_into() {
            // SAFETY: as above.
            Ok(out) => unsafe { pairs::round(sums, out) },
            Err(_) => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = Self::from_f32(*sum)),
        }
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

/// What is done with pairs of bf16.
///
/// # Safety
/// Of all of it: the processor has AVX-512 as [`V4`] has it, with BF16.
#[cfg(target_arch = "x86_64")]
mod pairs {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_permutex2var_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_storeu_si512,
    };

    use half::bf16;
    use pulp::WithSimd;
    use pulp::x86::V4;

    use super::super::tile::{COLUMNS, Left, Tile, sum_by};
    use super::SUMS;

    /// Numbers in a register.
    const LANES: usize = 2 * SUMS;

    /// 512 bits, whatever they mean.
    #[inline(always)]
    fn bits(pairs: __m512bh) -> __m512i {
        // SAFETY: any 512 bits are either.
        unsafe { std::mem::transmute(pairs) }
    }

    #[inline(always)]
    fn numbers(bits: __m512i) -> __m512bh {
        // SAFETY: as above.
        unsafe { std::mem::transmute(bits) }
    }

    /// As [`super::Number::run`].
    #[target_feature(enable = "avx2,bmi1,bmi2,fma,lzcnt,popcnt")]
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
    pub(super) fn run<K: WithSimd>(kernel: K) -> K::Output {
        // SAFETY: the processor has all of `V4` where there are `Dots` of bf16.
        kernel.with_simd(unsafe { V4::new_unchecked() })
    }

    /// As [`super::Number::sum`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn sum(left: Left<'_, bf16>, right: *const bf16, words: usize, sums: &mut Tile) {
        // SAFETY: as the caller says.
        unsafe { sum_by(left, right, words, sums, |sum, x, y| _mm512_dpbf16_ps(sum, numbers(x), numbers(y))) }
    }

    /// Entry i of both rows side by side, for each i; where there is no lower row, 0.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn interleave(upper: &[bf16], lower: Option<&[bf16]>, words: &mut [bf16]) {
        /// The entries of the first and of the second 16 pairs, among those of the upper and then the lower row.
        const ORDER: [[u16; LANES]; 2] = {
            let mut order = [[0; LANES]; 2];
            let mut i = 0;
            while i < 2 * LANES {
                order[i / LANES][i % LANES] = (i / 2 + i % 2 * LANES) as u16;
                i += 1;
            }
            order
        };
        let (mut whole, lower) = (0, lower.unwrap_or_default());
        // SAFETY: all reads and writes are of 64 bytes of slices as long.
        unsafe {
            let order = ORDER.map(|order| _mm512_loadu_si512(order.as_ptr().cast()));
            let rows = upper.chunks_exact(LANES).zip(lower.chunks_exact(LANES));
            for ((upper, lower), words) in rows.zip(words.chunks_exact_mut(2 * LANES)) {
                let [upper, lower] = [upper, lower].map(|row| _mm512_loadu_si512(row.as_ptr().cast()));
                for (order, words) in order.into_iter().zip(words.chunks_exact_mut(LANES)) {
                    _mm512_storeu_si512(words.as_mut_ptr().cast(), _mm512_permutex2var_epi16(upper, order, lower));
                }
                whole += LANES;
            }
        }
        for (i, pair) in words.chunks_exact_mut(2).enumerate().skip(whole) {
            pair.copy_from_slice(&[upper[i], lower.get(i).copied().unwrap_or(bf16::ZERO)]);
        }
    }

    /// As [`super::Number::add_sums`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn add_sums(words: &[bf16], width: usize, sums: &mut [f32]) {
        /// Registers of sums that are made at once; each waits for its own last addition.
        const AT_ONCE: usize = 6;
        let ones = numbers(_mm512_set1_epi32(0x3f80_3f80));
        for (part, sums) in sums.chunks_mut(AT_ONCE * SUMS).enumerate() {
            let mut own = [_mm512_setzero_ps(); AT_ONCE];
            for step in words.chunks_exact(2 * width) {
                let pairs = step[part * AT_ONCE * LANES..].chunks_exact(LANES);
                for (own, pairs) in own.iter_mut().zip(pairs) {
                    // SAFETY: 64 bytes of a slice as long.
                    *own = _mm512_dpbf16_ps(*own, numbers(unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }), ones);
                }
            }
            for (sums, own) in sums.chunks_mut(SUMS).zip(own) {
                let mut all = [0.0; SUMS];
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(all.as_mut_ptr(), own) };
                sums.iter_mut().zip(all).for_each(|(sum, own)| *sum += own);
            }
        }
    }

    /// To even, as everywhere; what is too small to be normal becomes 0.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn round(sums: &[f32; COLUMNS], out: &mut [bf16; COLUMNS]) {
        for (sums, out) in sums.chunks_exact(LANES).zip(out.chunks_exact_mut(LANES)) {
            let (low, high) = sums.split_at(LANES / 2);
            // SAFETY: reads and writes of 64 bytes of slices as long.
            unsafe {
                let rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(high.as_ptr()), _mm512_loadu_ps(low.as_ptr()));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), bits(rounded));
            }
        }
    }
}

/// Never called: on other processors nobody has [`Dots`].
#[cfg(not(target_arch = "x86_64"))]
mod pairs {
    use half::bf16;
    use pulp::WithSimd;

    use super::super::tile::{COLUMNS, Left, Tile};

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
