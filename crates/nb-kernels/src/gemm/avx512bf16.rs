//! Functions compiled for AVX-512, as [`V4`] defines it, and AVX-512 BF16. Only processors with these instructions may run
//! them.
#![expect(unsafe_code, reason = "reads and writes of registers within slices of at least that length")]

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_permutex2var_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_storeu_si512,
};

use half::bf16;
use pulp::WithSimd;
use pulp::x86::V4;

use super::element::SUMS;
use super::microkernel::sum_words;
use super::operands::{MicroPanel, MicroTile, NR};

/// Numbers in a register.
const LANES: usize = 2 * SUMS;

#[inline(always)]
fn bits(pairs: __m512bh) -> __m512i {
    // SAFETY: every pattern of 512 bits is a value of both types.
    unsafe { std::mem::transmute(pairs) }
}

#[inline(always)]
fn numbers(bits: __m512i) -> __m512bh {
    // SAFETY: as above.
    unsafe { std::mem::transmute(bits) }
}

/// See [`super::element::Microkernel::run`].
#[target_feature(enable = "avx2,bmi1,bmi2,fma,lzcnt,popcnt")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
pub(super) fn run<K: WithSimd>(kernel: K) -> K::Output {
    // SAFETY: the features above include or imply all features of `V4`.
    kernel.with_simd(unsafe { V4::new_unchecked() })
}

/// See [`super::element::Microkernel::sum`].
///
/// # Safety
///
/// As for [`super::element::Microkernel::sum`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn sum(left: MicroPanel<'_, bf16>, right: *const bf16, words: usize, sums: &mut MicroTile) {
    // SAFETY: the caller guarantees the instructions and the bounds.
    unsafe { sum_words(left, right, words, sums, |sum, x, y| _mm512_dpbf16_ps(sum, numbers(x), numbers(y))) }
}

/// Writes entry i of the upper and of the lower row side by side, for each i; a missing lower row counts as 0.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn interleave(upper: &[bf16], lower: Option<&[bf16]>, words: &mut [bf16]) {
    /// The indices of the first 16 pairs and of the second 16 pairs in the upper row's entries followed by the lower row's.
    const ORDER: [[u16; LANES]; 2] = {
        let mut order = [[0; LANES]; 2];
        let mut i = 0;
        while i < 2 * LANES {
            order[i / LANES][i % LANES] = (i / 2 + i % 2 * LANES) as u16;
            i += 1;
        }
        order
    };
    let (mut done, lower) = (0, lower.unwrap_or_default());
    // SAFETY: all reads and writes cover 64 bytes of slices of that length.
    unsafe {
        let order = ORDER.map(|order| _mm512_loadu_si512(order.as_ptr().cast()));
        let rows = upper.chunks_exact(LANES).zip(lower.chunks_exact(LANES));
        for ((upper, lower), words) in rows.zip(words.chunks_exact_mut(2 * LANES)) {
            let [upper, lower] = [upper, lower].map(|row| _mm512_loadu_si512(row.as_ptr().cast()));
            for (order, words) in order.into_iter().zip(words.chunks_exact_mut(LANES)) {
                _mm512_storeu_si512(words.as_mut_ptr().cast(), _mm512_permutex2var_epi16(upper, order, lower));
            }
            done += LANES;
        }
    }
    for (i, pair) in words.chunks_exact_mut(2).enumerate().skip(done) {
        pair.copy_from_slice(&[upper[i], lower.get(i).copied().unwrap_or(bf16::ZERO)]);
    }
}

/// See [`super::element::Microkernel::add_sums`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn add_sums(words: &[bf16], width: usize, sums: &mut [f32]) {
    /// Registers of sums that are computed together, since each addition waits for the previous one in the same register.
    const AT_ONCE: usize = 6;
    let ones = numbers(_mm512_set1_epi32(0x3f80_3f80));
    for (part, sums) in sums.chunks_mut(AT_ONCE * SUMS).enumerate() {
        let mut registers = [_mm512_setzero_ps(); AT_ONCE];
        for step in words.chunks_exact(2 * width) {
            let pairs = step[part * AT_ONCE * LANES..].chunks_exact(LANES);
            for (register, pairs) in registers.iter_mut().zip(pairs) {
                // SAFETY: the read covers 64 bytes of a slice of that length.
                let pairs = numbers(unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) });
                *register = _mm512_dpbf16_ps(*register, pairs, ones);
            }
        }
        for (sums, register) in sums.chunks_mut(SUMS).zip(registers) {
            let mut parts = [0.0; SUMS];
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(parts.as_mut_ptr(), register) };
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
    }
}

/// Rounds ties to even; subnormal results become 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn round(sums: &[f32; NR], out: &mut [bf16; NR]) {
    for (sums, out) in sums.chunks_exact(LANES).zip(out.chunks_exact_mut(LANES)) {
        let (low, high) = sums.split_at(LANES / 2);
        // SAFETY: reads and writes cover 64 bytes of slices of that length.
        unsafe {
            let rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(high.as_ptr()), _mm512_loadu_ps(low.as_ptr()));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), bits(rounded));
        }
    }
}
