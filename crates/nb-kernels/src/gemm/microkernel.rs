//! The innermost loop of every product: the sums of one micro-tile, in registers.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "instructions that the caller vouches for, and reads by pointers that the caller checks"
    )
)]
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::{
    __m512, __m512i, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::operands::{MR, MicroPanel, MicroTile, NR, step};

/// Computes the sums of a micro-tile over `words` words of `left` and as many steps of `right`. `multiply_add` takes the sums,
/// and words of the left and of the right matrix. Loops, not closures: inlined into a function that is compiled for the
/// instructions, all of them are compiled for these.
///
/// # Safety
///
/// The processor has AVX-512F and the instructions of `multiply_add`. `left` has at least one row and `words` words in each row;
/// `right` points to `words` steps.
#[inline(always)]
pub(super) unsafe fn sum_words<T>(
    left: MicroPanel<'_, T>,
    right: *const T,
    words: usize,
    sums: &mut MicroTile,
    multiply_add: impl Fn(__m512, __m512i, __m512i) -> __m512,
) {
    const REGISTERS: usize = NR / 16;
    // A missing row is read as the last one that exists.
    let mut rows = [left.entries.as_ptr(); MR];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i.min(left.rows - 1) * left.row_stride);
    }
    // SAFETY: all reads are of words of existing rows, and of 64 bytes each of existing steps; all writes are of 16 numbers each
    // of rows of sums. The caller vouches for the instructions.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); REGISTERS]; MR];
        for k in 0..words {
            let step = right.add(k * step::<T>()).cast::<__m512i>();
            let mut right = [_mm512_setzero_si512(); REGISTERS];
            for (j, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(step.add(j));
            }
            for (acc, row) in acc.iter_mut().zip(rows) {
                let word = _mm512_set1_epi32(row.add(k * left.word_stride).cast::<i32>().read_unaligned());
                for (acc, right) in acc.iter_mut().zip(right) {
                    *acc = multiply_add(*acc, word, right);
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            for (sums, acc) in sums.chunks_exact_mut(16).zip(acc) {
                _mm512_storeu_ps(sums.as_mut_ptr(), acc);
            }
        }
    }
}
