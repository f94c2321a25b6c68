//! The number formats of products, and the instructions for each of them.
#![expect(
    unsafe_code,
    reason = "calls a function that needs instructions, which an `Isa` proves, and checks its bounds"
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use pulp::{Simd, WithSimd};

use super::operands::{Columns, MR, MicroPanel, MicroTile, NR, in_word, step};
use crate::float::Float;

/// Columns whose sums are computed together.
pub(super) const SUMS: usize = 16;

/// A number format with matrix-product kernels in this crate: f32 or bf16.
///
/// Entries are multiplied in words of 32 bits: one instruction multiplies all entries of a word, which are neighbours along the
/// sum.
pub trait Element: Microkernel {}

impl<T: Microkernel> Element for T {}

/// A proof that the processor has the instructions for products of `T`: AVX-512 or AVX2 for f32, AVX-512 BF16 for bf16.
#[derive(Debug, Clone, Copy)]
pub struct Isa<T>(PhantomData<T>);

impl<T: Element> Isa<T> {
    /// Returns the proof if the processor has the instructions.
    pub fn detect() -> Option<Self> {
        T::is_available().then_some(Self(PhantomData))
    }

    /// Returns the proof if the processor has the instructions and libtorch's libraries are not faster on it. They are faster
    /// in bf16 with AMX.
    pub fn fastest() -> Option<Self> {
        Self::detect().filter(|_| T::is_fastest())
    }

    /// Rounds `x` to `out`. In bf16, subnormal numbers become 0, as they do in products.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn round(self, x: &[f32], out: &mut [T]) {
        assert_eq!(x.len(), out.len(), "numbers against places for them");
        T::run(self, Rounding { isa: self, x, out });
    }

    /// Computes the sums over all words k of `left` word k · `right` word k. `right` is a packed panel: [`NR`] words for each
    /// k. Rows of `sums` beyond the rows of `left` hold no meaningful values.
    ///
    /// # Panics
    ///
    /// If `left` has no rows, more rows than a micro-tile, or fewer words than `right`.
    #[inline(always)]
    pub(super) fn micro_tile(self, left: MicroPanel<'_, T>, right: &[T], sums: &mut MicroTile) {
        let words = right.len() / step::<T>();
        assert!((1..=MR).contains(&left.rows), "a micro-tile of {} rows, expected 1 to {MR}", left.rows);
        let len = left.entries.len();
        let product = |count: usize, stride: usize| count as u128 * stride as u128; // strides may have any size
        let last = product(left.rows - 1, left.row_stride) + product(words.saturating_sub(1), left.word_stride);
        let end = last + in_word::<T>() as u128;
        assert!(words == 0 || end <= len as u128, "a micro-tile of {len} entries, expected {end}");
        // SAFETY: an `Isa` only exists where the processor has the instructions. All reads of `left` end before `end`, and all
        // reads of `right` within its complete steps.
        unsafe { T::sum(left, right.as_ptr(), words, sums) }
    }
}

/// See [`Isa::round`].
struct Rounding<'a, T> {
    isa: Isa<T>,
    x: &'a [f32],
    out: &'a mut [T],
}

impl<T: Element> WithSimd for Rounding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (blocks, rest) = self.x.as_chunks::<NR>();
        let (out, out_rest) = self.out.split_at_mut(blocks.len() * NR);
        for (block, out) in blocks.iter().zip(out.chunks_exact_mut(NR)) {
            T::store(self.isa, block, out);
        }
        let mut block = [0.0; NR];
        block[..rest.len()].copy_from_slice(rest);
        T::store(self.isa, &block, out_rest);
    }
}

/// The operations that need different instructions for each number format.
///
/// An [`Isa`] proves that the processor has these instructions: only [`Isa::detect`] creates one.
pub trait Microkernel: Float {
    /// Returns true if the processor has the instructions.
    fn is_available() -> bool;

    /// Returns true if libtorch's libraries are not faster on this processor; see [`Isa::fastest`].
    fn is_fastest() -> bool;

    /// Returns the buffer for a thread's panels. It is reused, since zeroing new memory takes as long as packing.
    fn scratch() -> &'static LocalKey<Cell<Vec<Self>>>;

    /// Copies columns to `words`: one step of `width` words for as many rows as a word has entries. Missing columns and rows
    /// become 0.
    fn interleave(isa: Isa<Self>, columns: &Columns<'_, Self>, width: usize, words: &mut [Self]);

    /// Sums each column over all steps of `width` words, a multiple of [`SUMS`], and adds the results to `sums`, which may be
    /// shorter.
    ///
    /// # Panics
    ///
    /// If `width` is not a multiple of [`SUMS`], or `sums` is longer than `width`.
    fn add_sums(isa: Isa<Self>, words: &[Self], width: usize, sums: &mut [f32]);

    /// Rounds as many sums as `out` has entries; in bf16, subnormal results become 0.
    fn store(isa: Isa<Self>, sums: &[f32; NR], out: &mut [Self]);

    /// Runs `kernel`, compiled for all instructions of the processor, including those for this number format.
    fn run<K: WithSimd>(isa: Isa<Self>, kernel: K) -> K::Output;

    /// Computes the sums of a micro-tile; see `Isa::micro_tile`.
    ///
    /// # Safety
    ///
    /// The processor has the instructions. `left` has at least one row and `words` words in each row; `right` points to `words`
    /// steps.
    unsafe fn sum(left: MicroPanel<'_, Self>, right: *const Self, words: usize, sums: &mut MicroTile);
}

/// Panics under the conditions of [`Microkernel::add_sums`].
pub(super) fn check_sums(width: usize, sums: &[f32]) {
    assert!(width.is_multiple_of(SUMS) && sums.len() <= width, "{} sums of steps of {width} words", sums.len());
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use half::bf16;

    use super::super::tests::detect;
    use super::*;

    /// Uses small integers, for which every sum is exact.
    fn a_micro_tile_holds_the_sums_of_products<T: Element>() {
        let Some(isa) = detect::<T>() else { return };
        let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
        let in_word = in_word::<T>();
        for (rows, words) in [(1, 1), (6, 5), (4, 192), (6, 0)] {
            let k = in_word * words;
            let entries: Vec<_> = (0..rows * k).map(|i| T::from_f32(number(i))).collect();
            let right: Vec<_> = (0..words * step::<T>()).map(|i| T::from_f32(number(3 * i + 1))).collect();
            let mut sums = [[f32::NAN; NR]; MR];
            let left = MicroPanel { entries: &entries, row_stride: k, word_stride: in_word, rows };
            isa.micro_tile(left, &right, &mut sums);
            for (i, sums) in sums.iter().take(rows).enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    let at = |k: usize| k / in_word * step::<T>() + in_word * j + k % in_word;
                    let expected: f32 = (0..k).map(|k0| number(i * k + k0) * number(3 * at(k0) + 1)).sum();
                    assert_eq!(*sum, expected, "{rows} {words}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn a_micro_tile_of_bf16_holds_the_sums_of_products() {
        a_micro_tile_holds_the_sums_of_products::<bf16>();
    }

    #[test]
    fn a_micro_tile_of_f32_holds_the_sums_of_products() {
        a_micro_tile_holds_the_sums_of_products::<f32>();
    }

    /// Processors with AVX-512 compute with AVX2 only here.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn avx2_gives_the_same_sums() {
        let Some(isa) = detect::<f32>() else { return };
        let entries = nb_testing::wave(MR * 200, 0.5);
        let right = nb_testing::wave(200 * NR, 1.5);
        for (rows, words) in [(1, 1), (6, 200), (4, 33), (2, 0)] {
            let left = MicroPanel { entries: &entries, row_stride: 200, word_stride: 1, rows };
            let mut sums = [[[f32::NAN; NR]; MR]; 2];
            isa.micro_tile(left, &right[..words * NR], &mut sums[0]);
            // SAFETY: the processor has AVX2, and the rows and the panel have at least `words` words.
            unsafe { super::super::avx2::sum(left, right.as_ptr(), words, &mut sums[1]) };
            for (found, expected) in sums[1].iter().zip(&sums[0]).take(rows) {
                assert_eq!(found, expected, "{rows} rows, {words} words");
            }
        }
    }

    fn a_left_matrix_that_is_too_short_is_refused<T: Element>() {
        let Some(isa) = detect::<T>() else { return };
        let in_word = in_word::<T>();
        let entries = vec![T::ZERO; 5 * in_word + 1];
        let right = vec![T::ZERO; 2 * step::<T>()];
        let run = |row: usize, word: usize, rows| {
            let left = MicroPanel { entries: &entries, row_stride: row * in_word, word_stride: word * in_word, rows };
            let tile = AssertUnwindSafe(|| isa.micro_tile(left, &right, &mut [[0.0; NR]; MR]));
            catch_unwind(tile).is_ok()
        };
        assert!(run(2, 1, 2) && run(1, 4, 1) && run(3, 1, 2));
        assert!(!run(2, 1, 4) && !run(1, 6, 1) && !run(usize::MAX / 2, 1, 2) && !run(1, 1, 0) && !run(0, 1, MR + 1));
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
