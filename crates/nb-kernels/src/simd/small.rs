//! Products of matrices that fit in the L1 and L2 caches, as in attention: one head of one sequence at a time.
//!
//! A BLAS call for each would spend its time on packing. Here a tile of the result stays in registers during its sums: each
//! step loads one row of the right matrix, and broadcasts each entry of the left matrix to a register.

use pulp::Simd;

/// Rows and registers of the largest tile. AVX2 has 16 registers: 12 for sums, two for the right matrix, one for the left.
const ROWS: usize = 6;
const REGISTERS: usize = 2;
/// Rows of a tile if one register holds all columns. The same number of sums keeps the multipliers equally busy.
const NARROW_ROWS: usize = ROWS * REGISTERS;

/// The left matrix [m, k] of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operand<'a> {
    /// Row by row: entry (i, k) at i·`stride` + k.
    Rows { entries: &'a [f32], stride: usize },
    /// Stored transposed: entry (i, k) at k·`stride` + i.
    Transposed { entries: &'a [f32], stride: usize },
}

/// The right matrix [k, n] of a product, row by row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhs<'a> {
    /// At least k rows.
    pub(crate) entries: &'a [f32],
    /// k.
    pub(crate) rows: usize,
    /// n, a multiple of `ALIGN`.
    pub(crate) columns: usize,
}

/// Computes `out` [m, n] = `left` [m, k] · `right` [k, n].
#[inline(always)]
pub(crate) fn multiply_small<S: Simd>(simd: S, left: Operand<'_>, right: Rhs<'_>, out: &mut [f32]) {
    let n = right.columns;
    let m = out.len() / n;
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
            1 => strip::<S, 1>(simd, left, row, right, out),
            3 => strip::<S, 3>(simd, left, row, right, out),
            NARROW_ROWS => strip::<S, NARROW_ROWS>(simd, left, row, right, out),
            _ => strip::<S, ROWS>(simd, left, row, right, out),
        }
        row += rows;
    }
}

/// Computes `R` rows of the result, from `row` on.
#[inline(always)]
fn strip<S: Simd, const R: usize>(simd: S, left: Operand<'_>, row: usize, right: Rhs<'_>, out: &mut [f32]) {
    let lanes = S::F32_LANES;
    let mut column = 0;
    while column < right.columns {
        if right.columns - column >= REGISTERS * lanes {
            tile::<S, R, REGISTERS>(simd, left, row, right, column, out);
            column += REGISTERS * lanes;
        } else {
            tile::<S, R, 1>(simd, left, row, right, column, out);
            column += lanes;
        }
    }
}

/// Computes a tile of `R` rows by `V` registers of the result, from `row` and `column` on.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: Operand<'_>,
    row: usize,
    right: Rhs<'_>,
    column: usize,
    out: &mut [f32],
) {
    let Rhs { entries: right, rows: k, columns: n } = right;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    match left {
        Operand::Rows { entries, stride } => {
            let rows: [&[f32]; R] = std::array::from_fn(|i| &entries[(row + i) * stride..][..k]);
            for (j, right) in right.chunks_exact(n).take(k).enumerate() {
                accumulate(simd, &mut sums, std::array::from_fn(|i| rows[i][j]), &right[column..]);
            }
        }
        Operand::Transposed { entries, stride } => {
            for (left, right) in entries.chunks(stride).zip(right.chunks_exact(n)).take(k) {
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

/// Adds the product of one entry per row and one row of the right matrix. A function, not a closure: a call that is not inlined
/// is compiled for any processor, and passes its registers through memory.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, const R: usize, const V: usize>(
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
    use crate::simd::{ALIGN, dispatch};

    struct Multiply<'a> {
        left: Operand<'a>,
        right: Rhs<'a>,
        out: &'a mut [f32],
    }

    impl WithSimd for Multiply<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            multiply_small(simd, self.left, self.right, self.out);
        }
    }

    /// Covers all numbers of rows modulo the tile's, odd numbers of registers, and both orders of the left matrix. Every sum of
    /// small integers is exact.
    #[test]
    fn both_orders_match_the_definition() {
        for m in 1..=25 {
            for (k, n) in [(1, ALIGN), (5, 3 * ALIGN), (32, 4 * ALIGN)] {
                let entry = |i: usize, j: usize| ((7 * i + 3 * j) % 11) as f32 - 5.0;
                let right: Vec<f32> = (0..k * n).map(|i| entry(i / n, i % n)).collect();
                let rows: Vec<f32> = (0..m * k).map(|i| entry(i % k, i / k)).collect();
                let columns: Vec<f32> = (0..k * m).map(|i| entry(i / m, i % m)).collect();
                for left in
                    [Operand::Rows { entries: &rows, stride: k }, Operand::Transposed { entries: &columns, stride: m }]
                {
                    let mut out = vec![f32::NAN; m * n];
                    dispatch(Multiply { left, right: Rhs { entries: &right, rows: k, columns: n }, out: &mut out });
                    for (i, found) in out.iter().enumerate() {
                        let expected: f32 = (0..k).map(|j| entry(j, i / n) * right[j * n + i % n]).sum();
                        assert_eq!(*found, expected, "{left:?} {m} {k} {n}");
                    }
                }
            }
        }
    }
}
