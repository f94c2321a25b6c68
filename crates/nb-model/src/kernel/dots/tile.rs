//! The one function that everything here is about: sums of products for a tile of the result.
#![expect(
    unsafe_code,
    reason = "calls a function compiled for instructions that were asked for, and reads by pointers whose ends are checked"
)]

use std::marker::PhantomData;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m512, __m512i};

use super::number::Number;

/// Rows of a tile.
pub(super) const ROWS: usize = 6;
/// Columns of a tile: four registers of 16, so that the sums of a tile take 24 of the 32 registers.
pub(super) const COLUMNS: usize = 64;
/// The sums of a tile.
pub(super) type Tile = [[f32; COLUMNS]; ROWS];

/// Entries of one step of a panel of the right matrix: a word for each column.
pub(super) const fn step<T: Number>() -> usize {
    T::IN_WORD * COLUMNS
}

/// Rows of a left matrix, which is read in words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left<'a, T> {
    /// Word k of row i begins at i·`row` + k·`word`.
    pub(super) entries: &'a [T],
    pub(super) row: usize,
    pub(super) word: usize,
    /// How many rows there are, 1 to [`ROWS`].
    pub(super) rows: usize,
}

/// Says that the processor has the instructions for sums of products of `T`, and nothing faster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dots<T>(PhantomData<T>);

impl<T: Number> Dots<T> {
    /// # Safety
    /// The processor has the instructions.
    pub(super) unsafe fn new() -> Self {
        const { assert!(T::IN_WORD * size_of::<T>() == 4, "words of 32 bits") };
        Self(PhantomData)
    }

    /// Sums over all words k of `left` word k · `right` word k. `right` is a panel: [`COLUMNS`] words for each k. Rows of `sums`
    /// beyond those of `left` hold nothing of meaning.
    ///
    /// # Panics
    /// If `left` has no rows, more than a tile, or fewer words than `right`.
    #[inline(always)]
    pub(super) fn tile(self, left: Left<'_, T>, right: &[T], sums: &mut Tile) {
        let words = right.len() / step::<T>();
        assert!((1..=ROWS).contains(&left.rows), "a tile of {} rows", left.rows);
        let len = left.entries.len();
        let product = |count: usize, step: usize| count as u128 * step as u128; // steps may be of any size
        let end = product(left.rows - 1, left.row) + product(words.saturating_sub(1), left.word) + T::IN_WORD as u128;
        assert!(words == 0 || end <= len as u128, "{end} entries of {len}");
        // SAFETY: a `Dots` is only made where the processor has the instructions. All reads of `left` end before `end`, those of
        // `right` within its whole steps.
        unsafe { T::sum(left, right.as_ptr(), words, sums) }
    }
}

/// What [`Number::sum`] is once it knows how to multiply words and add: `multiply_add` takes the sums, and words of the left and
/// of the right matrix. Loops, not closures: inlined into a function compiled for the instructions, all of it is compiled for
/// them.
///
/// # Safety
/// As [`Number::sum`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn sum_by<T: Number>(
    left: Left<'_, T>,
    right: *const T,
    words: usize,
    sums: &mut Tile,
    multiply_add: impl Fn(__m512, __m512i, __m512i) -> __m512,
) {
    use std::arch::x86_64::{
        _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };
    const REGISTERS: usize = COLUMNS / 16;
    // A row that is not there is read as the last one that is.
    let mut rows = [left.entries.as_ptr(); ROWS];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i.min(left.rows - 1) * left.row);
    }
    // SAFETY: all that is read are words of rows that are there, and 64 bytes each of steps that are; written are 16 numbers
    // each of rows of sums. The instructions are the caller's.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); REGISTERS]; ROWS];
        for k in 0..words {
            let step = right.add(k * step::<T>()).cast::<__m512i>();
            let mut right = [_mm512_setzero_si512(); REGISTERS];
            for (j, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(step.add(j));
            }
            for (acc, row) in acc.iter_mut().zip(rows) {
                let word = _mm512_set1_epi32(row.add(k * left.word).cast::<i32>().read_unaligned());
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use half::bf16;

    use super::*;

    /// Small integers, so that every sum is exact.
    fn a_tile_holds_the_sums_of_products<T: Number>() {
        let Some(dots) = T::dots() else { return };
        let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
        for (rows, words) in [(1, 1), (6, 5), (4, 192), (6, 0)] {
            let k = T::IN_WORD * words;
            let left: Vec<_> = (0..rows * k).map(|i| T::from_f32(number(i))).collect();
            let right: Vec<_> = (0..words * step::<T>()).map(|i| T::from_f32(number(3 * i + 1))).collect();
            let mut sums = [[f32::NAN; COLUMNS]; ROWS];
            dots.tile(Left { entries: &left, row: k, word: T::IN_WORD, rows }, &right, &mut sums);
            for (i, sums) in sums.iter().take(rows).enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    let at = |k: usize| k / T::IN_WORD * step::<T>() + T::IN_WORD * j + k % T::IN_WORD;
                    let expected: f32 = (0..k).map(|k0| number(i * k + k0) * number(3 * at(k0) + 1)).sum();
                    assert_eq!(*sum, expected, "{rows} {words}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn a_tile_of_bf16_holds_the_sums_of_products() {
        a_tile_holds_the_sums_of_products::<bf16>();
    }

    #[test]
    fn a_tile_of_f32_holds_the_sums_of_products() {
        a_tile_holds_the_sums_of_products::<f32>();
    }

    fn a_left_matrix_that_is_too_short_is_refused<T: Number>() {
        let Some(dots) = T::dots() else { return };
        let entries = vec![T::ZERO; 5 * T::IN_WORD + 1];
        let right = vec![T::ZERO; 2 * step::<T>()];
        let run = |row, word, rows| {
            let left = Left { entries: &entries, row: row * T::IN_WORD, word: word * T::IN_WORD, rows };
            let tile = AssertUnwindSafe(|| dots.tile(left, &right, &mut [[0.0; COLUMNS]; ROWS]));
            catch_unwind(tile).is_ok()
        };
        assert!(run(2, 1, 2) && run(1, 4, 1) && run(3, 1, 2));
        assert!(!run(2, 1, 4) && !run(1, 6, 1) && !run(usize::MAX / 2, 1, 2) && !run(1, 1, 0) && !run(0, 1, ROWS + 1));
    }

    #[test]
    fn left_matrices_of_bf16_that_are_too_short_are_refused() {
        a_left_matrix_that_is_too_short_is_refused::<bf16>();
    }

    #[test]
    fn left_matrices_of_f32_that_are_too_short_are_refused() {
        a_left_matrix_that_is_too_short_is_refused::<f32>();
    }
}
