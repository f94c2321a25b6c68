//! f32 products by AVX2 and FMA.
#![expect(
    unsafe_code,
    reason = "reads through pointers that the caller checks, and writes registers to sums of that length"
)]

use std::arch::x86_64::{_mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps};

use super::operands::{MR, MicroPanel, MicroTile, NR};

/// Numbers in a register.
const LANES: usize = 8;
/// Registers of a row of sums that are computed together: with 6 rows, the sums take 12 of the 16 registers.
const AT_ONCE: usize = 2;

/// See [`super::element::Microkernel::sum`]. The columns are computed in groups, each of which reads all of `left` again.
///
/// # Safety
///
/// As for [`super::element::Microkernel::sum`]; the processor has AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn sum(left: MicroPanel<'_, f32>, right: *const f32, words: usize, sums: &mut MicroTile) {
    // A missing row reads the last existing one.
    let mut rows = [left.entries.as_ptr(); MR];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i.min(left.rows - 1) * left.row_stride);
    }
    for first in (0..NR).step_by(AT_ONCE * LANES) {
        // SAFETY: each read covers a word of an existing row, or 32 bytes of an existing step; each write covers 8 numbers of a
        // row of sums.
        unsafe {
            let mut acc = [[_mm256_setzero_ps(); AT_ONCE]; MR];
            for k in 0..words {
                let step = right.add(k * NR + first);
                let mut right = [_mm256_setzero_ps(); AT_ONCE];
                for (j, right) in right.iter_mut().enumerate() {
                    *right = _mm256_loadu_ps(step.add(j * LANES));
                }
                for (acc, row) in acc.iter_mut().zip(rows) {
                    let word = _mm256_broadcast_ss(&*row.add(k * left.word_stride));
                    for (acc, right) in acc.iter_mut().zip(right) {
                        *acc = _mm256_fmadd_ps(word, right, *acc);
                    }
                }
            }
            for (sums, acc) in sums.iter_mut().zip(acc) {
                for (sums, acc) in sums[first..].chunks_exact_mut(LANES).zip(acc) {
                    _mm256_storeu_ps(sums.as_mut_ptr(), acc);
                }
            }
        }
    }
}
