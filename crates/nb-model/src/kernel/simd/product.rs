//! Products of matrices that fit the first caches: those of attention, one head of one text at a time.
//!
//! A BLAS call for each would spend its time on packing. Here a tile of the result stays in registers while the sum runs:
//! for every step of it one row of the right matrix is loaded and entries of the left one are spread over a register.

use pulp::Simd;

/// Rows and registers of the largest tile. AVX2 has 16 registers: 12 sums, two of the right matrix, one of the left.
const ROWS: usize = 6;
const REGISTERS: usize = 2;
/// Rows of a tile where a register holds all columns: as many sums, which keeps the multipliers as busy.
const NARROW_ROWS: usize = ROWS * REGISTERS;

/// The left matrix [m, k] of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Row by row: entry (i, k) at i·stride + k.
    Rows(&'a [f32], usize),
    /// Column by column, the transpose of what lies there: entry (i, k) at k·stride + i.
    Columns(&'a [f32], usize),
}

/// `out` [m, n] = `left` [m, k] · `right` [k, n]. `right` and `out` have rows of `n` entries, a multiple of
/// [`super::ALIGN`].
#[inline(always)]
pub(crate) fn product<S: Simd>(
    simd: S,
    left: Left<'_>,
    right: &[f32],
    (m, k, n): (usize, usize, usize),
    out: &mut [f32],
) {
    let mut row = 0;
    while row < m {
        let rows = match m - row {
            0..3 => 1,
            3..ROWS => 3,
            NARROW_ROWS.. if n <= S::F32_LANES => NARROW_ROWS,
            _ => ROWS,
        };
        let out = &mut out[row * n..(row + rows) * n];
        match rows {
            1 => strip::<S, 1>(simd, left, row, right, (k, n), out),
            3 => strip::<S, 3>(simd, left, row, right, (k, n), out),
            NARROW_ROWS => strip::<S, NARROW_ROWS>(simd, left, row, right, (k, n), out),
            _ => strip::<S, ROWS>(simd, left, row, right, (k, n), out),
        }
        row += rows;
    }
}

/// `R` rows of the result, from `row` on.
#[inline(always)]
fn strip<S: Simd, const R: usize>(
    simd: S,
    left: Left<'_>,
    row: usize,
    right: &[f32],
    (k, n): (usize, usize),
    out: &mut [f32],
) {
    let lanes = S::F32_LANES;
    let mut column = 0;
    while column < n {
        if n - column >= REGISTERS * lanes {
            tile::<S, R, REGISTERS>(simd, left, row, (right, column), (k, n), out);
            column += REGISTERS * lanes;
        } else {
            tile::<S, R, 1>(simd, left, row, (right, column), (k, n), out);
            column += lanes;
        }
    }
}

/// `R` rows by `V` registers of the result.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: Left<'_>,
    row: usize,
    (right, column): (&[f32], usize),
    (k, n): (usize, usize),
    out: &mut [f32],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    match left {
        Left::Rows(values, stride) => {
            let rows: [&[f32]; R] = std::array::from_fn(|i| &values[(row + i) * stride..][..k]);
            for (j, right) in right.chunks_exact(n).take(k).enumerate() {
                accumulate(simd, &mut sums, std::array::from_fn(|i| rows[i][j]), &right[column..]);
            }
        }
        Left::Columns(values, stride) => {
            for (left, right) in values.chunks(stride).zip(right.chunks_exact(n)).take(k) {
                let left = &left[row..row + R];
                accumulate(simd, &mut sums, std::array::from_fn(|i| left[i]), &right[column..]);
            }
        }
    }
    for (out, sums) in out.chunks_exact_mut(n).zip(sums) {
        let out = S::as_mut_simd_f32s(&mut out[column..column + V * S::F32_LANES]).0;
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum;
        }
    }
}

/// Adds the product of one entry per row and one row of the right matrix. A function and not a closure: whatever stays a
/// call here is compiled for any CPU, and its registers go through memory.
#[inline(always)]
fn accumulate<S: Simd, const R: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    left: [f32; R],
    right: &[f32],
) {
    let right = S::as_simd_f32s(&right[..V * S::F32_LANES]).0;
    let right: [S::f32s; V] = std::array::from_fn(|i| right[i]);
    for (sums, left) in sums.iter_mut().zip(left) {
        let left = simd.splat_f32s(left);
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum = simd.mul_add_e_f32s(left, right, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::kernel::simd::{ALIGN, dispatch};

    struct Multiply<'a>(Left<'a>, &'a [f32], (usize, usize, usize), &'a mut [f32]);

    impl WithSimd for Multiply<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            product(simd, self.0, self.1, self.2, self.3);
        }
    }

    /// All numbers of rows modulo the tile, odd numbers of registers, both orders of the left matrix; small integers, so
    /// that every sum is exact.
    #[test]
    fn both_orders_give_the_sums_of_the_definition() {
        for m in 1..=25 {
            for (k, n) in [(1, ALIGN), (5, 3 * ALIGN), (32, 4 * ALIGN)] {
                let entry = |i: usize, j: usize| ((7 * i + 3 * j) % 11) as f32 - 5.0;
                let right: Vec<f32> = (0..k * n).map(|i| entry(i / n, i % n)).collect();
                let rows: Vec<f32> = (0..m * k).map(|i| entry(i % k, i / k)).collect();
                let columns: Vec<f32> = (0..k * m).map(|i| entry(i / m, i % m)).collect();
                for left in [Left::Rows(&rows, k), Left::Columns(&columns, m)] {
                    let mut out = vec![f32::NAN; m * n];
                    dispatch(Multiply(left, &right, (m, k, n), &mut out));
                    for (i, found) in out.iter().enumerate() {
                        let expected: f32 = (0..k).map(|j| entry(j, i / n) * right[j * n + i % n]).sum();
                        assert_eq!(*found, expected, "{left:?} {m} {k} {n}");
                    }
                }
            }
        }
    }
}
