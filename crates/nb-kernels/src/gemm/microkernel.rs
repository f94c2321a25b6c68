//! The innermost loop of every product: the sums of one micro-tile, in registers.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "instructions that the caller guarantees, and reads through pointers that the caller checks"
    )
)]
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::{
    __m512, __m512i, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::operands::{MR, MicroPanel, MicroTile, NR, step};

/// Computes the sums of a micro-tile over `words` words of `left` and as many steps of `right`. `multiply_add` takes the sums,
/// and words of the left and of the right matrix. The last micro-tile of a matrix often has few rows, so it takes fewer sums.
///
/// # Safety
///
/// The processor has AVX-512F and the instructions of `multiply_add`. `left` has at least one row and `words` words in each
/// row; `right` points to `words` steps.
#[inline(always)]
pub(super) unsafe fn sum_words<T>(
    left: MicroPanel<'_, T>,
    right: *const T,
    words: usize,
    sums: &mut MicroTile,
    multiply_add: impl Fn(__m512, __m512i, __m512i) -> __m512,
) {
    // SAFETY: the caller guarantees the instructions and the bounds.
    unsafe {
        match left.rows {
            5.. => sum_rows::<T, MR>(left, right, words, sums, multiply_add),
            3.. => sum_rows::<T, 4>(left, right, words, sums, multiply_add),
            _ => sum_rows::<T, 2>(left, right, words, sums, multiply_add),
        }
    }
}

/// Does the same for up to `R` rows. A row's sums do not depend on `R`. The body has loops, not closures: when it is inlined into a
/// function compiled for the instructions, all loops are compiled for them.
///
/// # Safety
///
/// As for [`sum_words`]; `left` has at most `R` rows.
#[inline(always)]
unsafe fn sum_rows<T, const R: usize>(
    left: MicroPanel<'_, T>,
    right: *const T,
    words: usize,
    sums: &mut MicroTile,
    multiply_add: impl Fn(__m512, __m512i, __m512i) -> __m512,
) {
    const REGISTERS: usize = NR / 16;
    // A missing row reads the last existing one.
    let mut rows = [left.entries.as_ptr(); R];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i.min(left.rows - 1) * left.row_stride);
    }
    // SAFETY: each read covers a word of an existing row or 64 bytes of an existing step; each write covers 16 numbers of a row
    // of sums. The caller guarantees the instructions.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); REGISTERS]; R];
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
