//! Sums by AVX-VNNI, the 256-bit form of AVX-512 VNNI's products that processors without AVX-512 have.
#![expect(
    unsafe_code,
    reason = "reads through pointers that the caller checks, and writes registers to sums of that length"
)]

#[cfg(test)]
use std::arch::x86_64::_mm256_dpbusd_epi32;
use std::arch::x86_64::{
    __m256i, _mm256_dpbusd_avx_epi32, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::layout::{Sums, WORD};
use crate::gemm::operands::{MR, MicroPanel, NR};

/// Numbers in a register of sums.
const LANES: usize = 8;
/// Registers of a row of sums that are computed together: with six rows, the sums take 12 of the 16 registers.
const AT_ONCE: usize = 2;

/// Defines a function that computes the sums of a micro-tile over `words` words with the given instruction.
macro_rules! sum {
    ($(#[$attribute:meta])* $name:ident, $features:literal, $multiply_add:ident) => {
        $(#[$attribute])*
        ///
        /// # Safety
        ///
        /// The processor has the instructions. `left` has at least one row and `words` words in each row; `panel` points to
        /// `words` steps.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(left: MicroPanel<'_, u8>, panel: *const i8, words: usize, sums: &mut Sums) {
            // A missing row reads the last existing one.
            let mut rows = [left.entries.as_ptr(); MR];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = row.wrapping_add(i.min(left.rows - 1) * left.row_stride);
            }
            for first in (0..NR).step_by(AT_ONCE * LANES) {
                // SAFETY: each read covers a word of an existing row or 32 bytes of an existing step; each write covers 8 sums.
                unsafe {
                    let mut acc = [[_mm256_setzero_si256(); AT_ONCE]; MR];
                    for k in 0..words {
                        let step = panel.add((k * NR + first) * WORD).cast::<__m256i>();
                        let right = [_mm256_loadu_si256(step), _mm256_loadu_si256(step.add(1))];
                        for (acc, row) in acc.iter_mut().zip(rows) {
                            let word = _mm256_set1_epi32(row.add(k * WORD).cast::<i32>().read_unaligned());
                            for (acc, right) in acc.iter_mut().zip(right) {
                                *acc = $multiply_add(*acc, word, right);
                            }
                        }
                    }
                    for (sums, acc) in sums.iter_mut().zip(acc) {
                        for (sums, acc) in sums[first..].chunks_exact_mut(LANES).zip(acc) {
                            _mm256_storeu_si256(sums.as_mut_ptr().cast(), acc);
                        }
                    }
                }
            }
        }
    };
}

sum! {
    /// Computes the sums of a micro-tile over `words` words.
    sum, "avx2,avxvnni", _mm256_dpbusd_avx_epi32
}

sum! {
    /// Does the same with the instruction of AVX-512 VNNI on 256 bits, for tests on processors without AVX-VNNI.
    #[cfg(test)]
    sum_with_avx512, "avx2,avx512vnni,avx512vl", _mm256_dpbusd_epi32
}
