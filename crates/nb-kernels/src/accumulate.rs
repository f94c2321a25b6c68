//! bf16 results added to f32 sums: gradients of weights and of biases, and gradients that arrive by two ways.
//!
//! The numbers are widened in registers. libtorch would make an f32 copy of them first.

use half::bf16;

use crate::float::Float;
use crate::simd::dispatch;
use crate::threads;

/// Numbers per parallel piece.
const PIECE: usize = 1 << 14;
/// Columns per parallel piece of a sum over rows. Fixed, so that sums do not depend on the number of threads.
const COLUMNS: usize = 128;

/// Adds each entry of `x` to that of `sum`.
///
/// # Panics
///
/// The two differ in length.
///
/// ```
/// use half::bf16;
/// let mut sum = [1.0, 2.0];
/// nb_kernels::accumulate::add(&mut sum, &[bf16::ONE, bf16::NEG_ONE]);
/// assert_eq!(sum, [2.0, 1.0]);
/// ```
pub fn add(sum: &mut [f32], x: &[bf16]) {
    assert_eq!(sum.len(), x.len(), "entries of the sum against those of x");
    threads::for_each(sum.chunks_mut(PIECE).zip(x.chunks(PIECE)), |(sum, x)| {
        dispatch(|| sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += Float::to_f32(*x)));
    });
}

/// Adds the sum over the rows of `x` [n, H] to `sum` \[H\].
///
/// # Panics
///
/// `x` does not consist of complete rows.
pub fn add_rows(sum: &mut [f32], x: &[bf16]) {
    let width = sum.len();
    assert!(x.is_empty() || x.len().is_multiple_of(width), "rows of {width} entries: found {} entries", x.len());
    threads::for_each(sum.chunks_mut(COLUMNS).enumerate(), |(piece, sum)| {
        dispatch(|| add_columns(x.get(piece * COLUMNS..).unwrap_or_default(), width, sum));
    });
}

/// Adds the entries of rows that are `width` apart and begin at the start of `x` to `sum`.
#[inline(always)]
fn add_columns(x: &[bf16], width: usize, sum: &mut [f32]) {
    let mut part = [0.0_f32; COLUMNS];
    for row in x.chunks(width) {
        part.iter_mut().zip(&row[..sum.len()]).for_each(|(part, x)| *part += Float::to_f32(*x));
    }
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Integers that bf16 holds exactly, in shapes that no piece divides.
    #[test]
    fn bf16_adds_up_in_f32() {
        for [rows, width] in [[1, 1], [37, 131], [300, 384], [5, 128], [0, 200]] {
            let number = |i: usize| (i * 7 % 23) as f32 - 11.0;
            let x: Vec<bf16> = (0..rows * width).map(|i| Float::from_f32(number(i))).collect();
            let mut sum = vec![1000.5; rows * width];
            add(&mut sum, &x);
            assert!(sum.iter().enumerate().all(|(i, sum)| *sum == 1000.5 + number(i)), "{rows} {width}");

            let mut sums = vec![0.25; width];
            add_rows(&mut sums, &x);
            for (column, sum) in sums.iter().enumerate() {
                let expected: f32 = (0..rows).map(|row| number(row * width + column)).sum();
                assert_eq!(*sum, 0.25 + expected, "{rows} {width}, column {column}");
            }
        }
    }
}
