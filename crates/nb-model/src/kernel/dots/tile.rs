//! The one function that everything here is about: sums of products of bf16 for a tile of the result.
#![expect(
    unsafe_code,
    reason = "calls a function compiled for instructions that were asked for, and reads by pointers whose ends are checked"
)]

use half::bf16;

#[cfg(not(target_arch = "x86_64"))]
use others::{fetch, sum, transpose};

/// Rows of a tile.
pub(super) const ROWS: usize = 6;
/// Columns of a tile: four registers of 16, so that the sums of a tile take 24 of the 32 registers.
pub(super) const COLUMNS: usize = 64;
/// Entries of one step of a panel of the right matrix: a pair for each column.
pub(super) const STEP: usize = 2 * COLUMNS;

/// Rows and pairs that are transposed at once.
pub(super) const SQUARE: usize = 16;

/// The sums of a tile.
pub(super) type Tile = [[f32; COLUMNS]; ROWS];

/// Rows of a left matrix, which is read in pairs of neighbours along the sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    /// Pair k of row i begins at i·`row` + k·`pair`.
    pub(super) entries: &'a [bf16],
    pub(super) row: usize,
    pub(super) pair: usize,
    /// How many there are, 1 to [`ROWS`].
    pub(super) rows: usize,
}

/// Says that the processor multiplies pairs of bf16 and adds them up in f32 (AVX-512 BF16), and has nothing faster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dots(());

impl Dots {
    /// Whether it does.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn find() -> Option<Self> {
        /// Of leaf 7: multiplication of whole tiles (AMX), which oneDNN has and this file has not.
        const TILES: u32 = 1 << 22;
        let has = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512bf16");
        (has && std::arch::x86_64::__cpuid_count(7, 0).edx & TILES == 0).then_some(Self(()))
    }

    /// Whether it does: no.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn find() -> Option<Self> {
        None
    }

    /// Sums over all pairs k of `left` pair k · `right` pair k. `right` is a panel: [`COLUMNS`] pairs for each k. Rows of
    /// `sums` beyond those of `left` hold nothing of meaning.
    ///
    /// # Panics
    /// If `left` has no rows, more than a tile, or fewer pairs than `right`.
    pub(super) fn tile(self, left: Left<'_>, right: &[bf16], sums: &mut Tile) {
        let pairs = right.len() / STEP;
        assert!((1..=ROWS).contains(&left.rows), "a tile of {} rows", left.rows);
        let len = left.entries.len();
        assert!(pairs == 0 || left.row.max(left.pair) <= len, "steps of {} and {} in {len}", left.row, left.pair);
        let end = (left.rows - 1) * left.row + pairs.saturating_sub(1) * left.pair + 2;
        assert!(pairs == 0 || end <= len, "{end} entries of {len}");
        // SAFETY: a `Dots` is only made where the processor has the instructions. All reads of `left` end before `end`, those of
        // `right` within its whole steps.
        unsafe { sum(left, right.as_ptr(), pairs, sums) }
    }

    /// Has numbers that are needed soon come to the first cache.
    #[inline(always)]
    pub(super) fn fetch(self, numbers: &[f32]) {
        for line in numbers.chunks(16) {
            // SAFETY: a `Dots` is only made where the processor has the instruction, a hint that reads nothing.
            unsafe { fetch(line.as_ptr()) }
        }
    }

    /// [`SQUARE`] rows of as many pairs, which begin `stride` entries apart, as the columns of as many steps of a panel; both
    /// from their first entry on.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn transpose(self, rows: &[bf16], stride: usize, steps: &mut [bf16]) {
        const WIDTH: usize = 2 * SQUARE;
        assert!(stride <= rows.len(), "rows {stride} apart in {}", rows.len());
        let ends = [stride, STEP].map(|apart| (SQUARE - 1) * apart + WIDTH);
        assert!(ends[0] <= rows.len() && ends[1] <= steps.len(), "{ends:?} of {} and {}", rows.len(), steps.len());
        // SAFETY: as above; all reads and writes end before those ends.
        unsafe { transpose(rows.as_ptr(), stride, steps.as_mut_ptr()) }
    }
}

/// # Safety
/// None beyond the processor's: a hint about any address does nothing else.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn fetch(line: *const f32) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: as above.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

/// # Safety
/// `rows` points to [`SQUARE`] rows of as many pairs, `stride` entries apart; `steps` to as many steps of a panel.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn transpose(rows: *const bf16, stride: usize, steps: *mut bf16) {
    use std::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32,
        _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };
    // SAFETY: a row is 64 bytes.
    let x: [__m512i; SQUARE] = std::array::from_fn(|i| unsafe { _mm512_loadu_si512(rows.add(i * stride).cast()) });
    // Pairs of neighbouring rows, then of neighbouring pairs of rows: 4 by 4 within each quarter of a register.
    let two: [__m512i; SQUARE] = std::array::from_fn(|i| {
        let (a, b) = (x[i / 2 * 2], x[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    let four: [__m512i; SQUARE] = std::array::from_fn(|i| {
        let (a, b) = (two[i / 4 * 4 + i % 4 / 2], two[i / 4 * 4 + i % 4 / 2 + 2]);
        if i % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    // `four[4 g + c]` holds, of the rows of group g, pairs c, 4 + c, 8 + c and 12 + c, one in each quarter.
    for c in 0..4 {
        let [g0, g1, g2, g3] = [four[c], four[4 + c], four[8 + c], four[12 + c]];
        let (even01, odd01) = (_mm512_shuffle_i32x4::<0x88>(g0, g1), _mm512_shuffle_i32x4::<0xdd>(g0, g1));
        let (even23, odd23) = (_mm512_shuffle_i32x4::<0x88>(g2, g3), _mm512_shuffle_i32x4::<0xdd>(g2, g3));
        let whole = [
            _mm512_shuffle_i32x4::<0x88>(even01, even23),
            _mm512_shuffle_i32x4::<0x88>(odd01, odd23),
            _mm512_shuffle_i32x4::<0xdd>(even01, even23),
            _mm512_shuffle_i32x4::<0xdd>(odd01, odd23),
        ];
        for (quarter, pairs) in whole.into_iter().enumerate() {
            // SAFETY: 64 bytes of a step that is there.
            unsafe { _mm512_storeu_si512(steps.add((4 * quarter + c) * STEP).cast(), pairs) };
        }
    }
}

/// # Safety
/// `left` has `pairs` pairs in each of its rows, of which there is one at least; `right` points to `pairs` steps.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn sum(left: Left<'_>, right: *const bf16, pairs: usize, sums: &mut Tile) {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    const REGISTERS: usize = COLUMNS / 16;
    // SAFETY: both are 512 bits without a meaning of their own.
    let pairs_of = |bits: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) };
    // A row that is not there is read as the last one that is.
    let rows: [*const bf16; ROWS] =
        std::array::from_fn(|i| left.entries.as_ptr().wrapping_add(i.min(left.rows - 1) * left.row));
    let mut acc = [[_mm512_setzero_ps(); REGISTERS]; ROWS];
    for k in 0..pairs {
        let right: [__m512bh; REGISTERS] = std::array::from_fn(|j| {
            // SAFETY: 64 bytes of step k, which is there.
            pairs_of(unsafe { _mm512_loadu_si512(right.add(k * STEP + 32 * j).cast()) })
        });
        for (acc, row) in acc.iter_mut().zip(rows) {
            // SAFETY: pair k of a row that is there.
            let pair = unsafe { row.add(k * left.pair).cast::<i32>().read_unaligned() };
            let pair = pairs_of(_mm512_set1_epi32(pair));
            for (acc, right) in acc.iter_mut().zip(right) {
                *acc = _mm512_dpbf16_ps(*acc, pair, right);
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        for (sums, acc) in sums.chunks_exact_mut(16).zip(acc) {
            // SAFETY: 16 numbers of f32.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), acc) };
        }
    }
}

/// Never called: on other processors nobody has a [`Dots`].
#[cfg(not(target_arch = "x86_64"))]
mod others {
    use super::{Left, Tile, bf16};

    pub(super) unsafe fn fetch(_: *const f32) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn transpose(_: *const bf16, _: usize, _: *mut bf16) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn sum(_: Left<'_>, _: *const bf16, _: usize, _: &mut Tile) {
        unreachable!("instructions of another processor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every sum is exact.
    #[test]
    fn a_tile_holds_the_sums_of_products() {
        let Some(dots) = Dots::find() else { return };
        let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
        for (rows, pairs) in [(1, 1), (6, 5), (4, 192), (6, 0)] {
            let k = 2 * pairs;
            let left: Vec<_> = (0..rows * k).map(|i| bf16::from_f32(number(i))).collect();
            let right: Vec<_> = (0..pairs * STEP).map(|i| bf16::from_f32(number(3 * i + 1))).collect();
            let mut sums = [[f32::NAN; COLUMNS]; ROWS];
            dots.tile(Left { entries: &left, row: k, pair: 2, rows }, &right, &mut sums);
            for (i, sums) in sums.iter().take(rows).enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    let of = |k: usize| number(3 * (k / 2 * STEP + 2 * j + k % 2) + 1);
                    let expected: f32 = (0..k).map(|k0| number(i * k + k0) * of(k0)).sum();
                    assert_eq!(*sum, expected, "{rows} {pairs}: {i} {j}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "entries of 11")]
    fn a_left_matrix_that_is_too_short_is_refused() {
        let Some(dots) = Dots::find() else { panic!("nothing to refuse: entries of 11") };
        let zeros = [bf16::ZERO; 2 * STEP];
        dots.tile(Left { entries: &zeros[..11], row: 4, pair: 2, rows: 3 }, &zeros, &mut [[0.0; COLUMNS]; ROWS]);
    }
}
