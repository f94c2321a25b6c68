//! What is done with pairs of bf16 by processors with AVX-512 as [`V4`] has it, and with AVX-512 BF16: functions compiled for
//! these instructions, which are for processors that have them.
#![expect(unsafe_code, reason = "reads and writes of registers in slices that are as long")]

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_permutex2var_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_storeu_si512,
};

use half::bf16;
use pulp::WithSimd;
use pulp::x86::V4;

use super::number::SUMS;
use super::tile::{COLUMNS, Left, Tile, sum_by};

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

/// As [`super::number::Number::run`].
#[target_feature(enable = "avx2,bmi1,bmi2,fma,lzcnt,popcnt")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
pub(super) fn run<K: WithSimd>(kernel: K) -> K::Output {
    // SAFETY: the features above are, or imply, all that `V4` stands for.
    kernel.with_simd(unsafe { V4::new_unchecked() })
}

/// As [`super::number::Number::sum`].
///
/// # Safety
/// As there.
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

/// As [`super::number::Number::add_sums`].
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

/// To even, as everywhere.
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
