//! Sums by AVX-512 VNNI.
#![expect(
    unsafe_code,
    reason = "reads through pointers that the caller checks, and writes registers to sums of that length"
)]

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::layout::{Sums, WORD};
use crate::gemm::operands::{MR, MicroPanel, NR};

/// Numbers in a register of sums.
const LANES: usize = 16;
const REGISTERS: usize = NR / LANES;

/// Computes the sums of a micro-tile over `words` words.
///
/// # Safety
///
/// The processor has AVX-512 VNNI. `left` has at least one row and `words` words in each row; `panel` points to `words` steps.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn sum(left: MicroPanel<'_, u8>, panel: *const i8, words: usize, sums: &mut Sums) {
    // A missing row reads the last existing one.
    let mut rows = [left.entries.as_ptr(); MR];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i.min(left.rows - 1) * left.row_stride);
    }
    // SAFETY: each read covers a word of an existing row or 64 bytes of an existing step; each write covers 16 sums.
    unsafe {
        let mut acc = [[_mm512_setzero_si512(); REGISTERS]; MR];
        for k in 0..words {
            let step = panel.add(k * WORD * NR).cast::<__m512i>();
            let mut right = [_mm512_setzero_si512(); REGISTERS];
            for (j, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(step.add(j));
            }
            for (acc, row) in acc.iter_mut().zip(rows) {
                let word = _mm512_set1_epi32(row.add(k * WORD).cast::<i32>().read_unaligned());
                for (acc, right) in acc.iter_mut().zip(right) {
                    *acc = _mm512_dpbusd_epi32(*acc, word, right);
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            for (sums, acc) in sums.chunks_exact_mut(LANES).zip(acc) {
                _mm512_storeu_si512(sums.as_mut_ptr().cast(), acc);
            }
        }
    }
}
