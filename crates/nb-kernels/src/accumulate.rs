//! Addition of bf16 results to f32 sums: gradients of weights and biases, and gradients that arrive along two paths.
//!
//! The kernels widen bf16 numbers in registers. libtorch would first make an f32 copy of them.

use half::bf16;

use crate::float::Float;
use crate::simd::dispatch;
use crate::threads;

/// Entries per parallel piece.
const PIECE: usize = 1 << 14;
/// Columns per parallel piece of a sum over rows. Fixed, so that sums do not depend on the number of threads.
const COLUMNS: usize = 128;

/// Adds each entry of `x` to the corresponding entry of `sum`.
///
/// # Panics
///
/// If `sum` and `x` differ in length.
///
/// ```
/// use half::bf16;
/// let mut sum = [1.0, 2.0];
/// nb_kernels::accumulate::add(&mut sum, &[bf16::ONE, bf16::NEG_ONE]);
/// assert_eq!(sum, [2.0, 1.0]);
/// ```
pub fn add(sum: &mut [f32], x: &[bf16]) {
    assert_eq!(sum.len(), x.len(), "lengths of the sum and of x");
    threads::for_each(sum.chunks_mut(PIECE).zip(x.chunks(PIECE)), |(sum, x)| {
        dispatch(|| sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += Float::to_f32(*x)));
    });
}

/// Adds the sum over the rows of `x` [n, H] to `sum` \[H\].
///
/// # Panics
///
/// If `x` does not consist of complete rows.
pub fn add_rows(sum: &mut [f32], x: &[bf16]) {
    let width = sum.len();
    assert!(x.is_empty() || x.len().is_multiple_of(width), "rows of {width} entries: found {} entries", x.len());
    threads::for_each(sum.chunks_mut(COLUMNS).enumerate(), |(piece, sum)| {
        dispatch(|| add_columns(x.get(piece * COLUMNS..).unwrap_or_default(), width, sum));
    });
}

/// Adds the first `sum.len()` entries of each row of `x` to `sum`. Rows begin `width` entries apart.
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

    /// Uses integers that bf16 represents exactly, in shapes that are not multiples of a piece.
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
