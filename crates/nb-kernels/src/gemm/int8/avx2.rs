//! Sums by AVX2, without saturation: entries are widened to 16 bits, and pairs of products are added in 32 bits.
#![expect(
    unsafe_code,
    reason = "reads through pointers that the caller checks, and writes registers to sums of that length"
)]

use std::arch::x86_64::{
    __m128i, _mm_cvtepu8_epi16, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi32, _mm256_broadcastq_epi64,
    _mm256_cvtepi8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

use super::layout::{Sums, WORD};
use crate::gemm::operands::{MR, MicroPanel, NR};

/// Columns that are computed together: two registers of sums per row, so that six rows take 12 of the 16 registers.
const AT_ONCE: usize = 8;

/// Computes the sums of a micro-tile over `words` words.
///
/// # Safety
///
/// The processor has AVX2. `left` has at least one row and `words` words in each row; `panel` points to `words` steps.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sum(left: MicroPanel<'_, u8>, panel: *const i8, words: usize, sums: &mut Sums) {
    // A missing row reads the last existing one.
    let mut rows = [left.entries.as_ptr(); MR];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i.min(left.rows - 1) * left.row_stride);
    }
    for first in (0..NR).step_by(AT_ONCE) {
        // SAFETY: each read covers a word of an existing row, or 16 bytes of an existing step; each write covers 8 sums.
        unsafe {
            // Two sums of two products for each of four columns.
            let mut acc = [[_mm256_setzero_si256(); 2]; MR];
            for k in 0..words {
                let step = panel.add((k * NR + first) * WORD).cast::<__m128i>();
                let right =
                    [_mm256_cvtepi8_epi16(_mm_loadu_si128(step)), _mm256_cvtepi8_epi16(_mm_loadu_si128(step.add(1)))];
                for (acc, row) in acc.iter_mut().zip(rows) {
                    let word = _mm_cvtsi32_si128(row.add(k * WORD).cast::<i32>().read_unaligned());
                    let word = _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(word));
                    for (acc, right) in acc.iter_mut().zip(right) {
                        *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(word, right));
                    }
                }
            }
            for (sums, [low, high]) in sums.iter_mut().zip(acc) {
                // Columns 0, 1, 4, 5, then 2, 3, 6, 7.
                let paired = _mm256_hadd_epi32(low, high);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(paired);
                _mm256_storeu_si256(sums[first..first + AT_ONCE].as_mut_ptr().cast(), ordered);
            }
        }
    }
}
