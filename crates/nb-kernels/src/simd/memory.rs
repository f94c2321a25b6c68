//! Transposition of matrices, and prefetching.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "instructions that are detected first, and pointers whose ends are checked")
)]

#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected;

use crate::float::Float;

/// Number of rows and columns of the square that [`transpose`] takes.
pub(crate) const SQUARE: usize = 16;

/// Numbers in a word of 32 bits.
const fn in_word<T: Float>() -> usize {
    4 / size_of::<T>()
}

/// Transposes a square of [`SQUARE`] rows by [`SQUARE`] words of 32 bits: word j of row i of `rows` becomes word i of row j of
/// `out`. Rows begin `stride` entries apart in `rows`, and `out_stride` entries apart in `out`.
///
/// # Panics
///
/// If a slice is too short, or if rows of `out` overlap.
#[inline(always)]
pub(crate) fn transpose<T: Float>(rows: &[T], stride: usize, out: &mut [T], out_stride: usize) {
    let width = in_word::<T>() * SQUARE;
    assert!(out_stride >= width, "rows of {width} entries, {out_stride} apart");
    let ends = [stride, out_stride].map(|apart| apart.checked_mul(SQUARE - 1).and_then(|last| last.checked_add(width)));
    let [end, out_end] = ends.map(|end| end.unwrap_or(usize::MAX));
    let found = [rows.len(), out.len()];
    assert!(end <= found[0] && out_end <= found[1], "a square needs {end} and {out_end} entries, found {found:?}");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions; all reads and writes end before the checked ends.
        return unsafe { in_registers(rows.as_ptr(), stride, out.as_mut_ptr(), out_stride) };
    }
    match in_word::<T>() {
        1 => row_by_row::<T, 1>(rows, stride, out, out_stride),
        _ => row_by_row::<T, 2>(rows, stride, out, out_stride),
    }
}

/// Builds complete rows of `out`, which are written from registers. A word has `W` entries.
#[inline(always)]
fn row_by_row<T: Float, const W: usize>(rows: &[T], stride: usize, out: &mut [T], out_stride: usize) {
    for i in 0..SQUARE {
        let row: [[T; W]; SQUARE] =
            std::array::from_fn(|j| std::array::from_fn(|entry| rows[j * stride + i * W + entry]));
        out[i * out_stride..][..W * SQUARE].copy_from_slice(row.as_flattened());
    }
}

/// # Safety
/// `rows` and `out` point to [`SQUARE`] rows of 64 bytes each, which begin `stride` and `out_stride` entries apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn in_registers<T: Float>(rows: *const T, stride: usize, out: *mut T, out_stride: usize) {
    use std::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32,
        _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };
    // SAFETY: a row is 64 bytes.
    let x: [__m512i; SQUARE] = std::array::from_fn(|i| unsafe { _mm512_loadu_si512(rows.add(i * stride).cast()) });
    // Words of neighbouring rows, then of neighbouring pairs of rows: 4 by 4 within each quarter of a register.
    let two: [__m512i; SQUARE] = std::array::from_fn(|i| {
        let (a, b) = (x[i / 2 * 2], x[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    let four: [__m512i; SQUARE] = std::array::from_fn(|i| {
        let (a, b) = (two[i / 4 * 4 + i % 4 / 2], two[i / 4 * 4 + i % 4 / 2 + 2]);
        if i % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    // `four[4 g + c]` holds words c, 4 + c, 8 + c and 12 + c of the rows of group g, one in each quarter.
    for c in 0..4 {
        let [g0, g1, g2, g3] = [four[c], four[4 + c], four[8 + c], four[12 + c]];
        let (even01, odd01) = (_mm512_shuffle_i32x4::<0x88>(g0, g1), _mm512_shuffle_i32x4::<0xdd>(g0, g1));
        let (even23, odd23) = (_mm512_shuffle_i32x4::<0x88>(g2, g3), _mm512_shuffle_i32x4::<0xdd>(g2, g3));
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(even01, even23),
            _mm512_shuffle_i32x4::<0x88>(odd01, odd23),
            _mm512_shuffle_i32x4::<0xdd>(even01, even23),
            _mm512_shuffle_i32x4::<0xdd>(odd01, odd23),
        ];
        for (quarter, words) in columns.into_iter().enumerate() {
            // SAFETY: a row is 64 bytes.
            unsafe { _mm512_storeu_si512(out.add((4 * quarter + c) * out_stride).cast(), words) };
        }
    }
}

/// Prefetches numbers that are needed soon into the L1 cache.
#[inline(always)]
pub(crate) fn prefetch<T: Float>(numbers: &[T]) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that every x86-64 processor has, and that reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    /// Uses rows that are longer than a square, in both directions, by complete words and by half words.
    fn rows_become_columns<T: Float + PartialEq + std::fmt::Debug, const W: usize>(number: impl Fn(u16) -> T) {
        let (stride, out_stride, word) = (37, 50, W);
        let rows: Vec<T> = (0..SQUARE * stride).map(|i| number(i as u16)).collect();
        let mut expected = vec![number(9999); SQUARE * out_stride];
        let mut found = expected.clone();
        for i in 0..SQUARE {
            for j in 0..SQUARE * word {
                expected[j / word * out_stride + i * word + j % word] = rows[i * stride + j];
            }
        }
        transpose(&rows, stride, &mut found, out_stride);
        assert_eq!(found, expected);
        found.fill(number(9999));
        row_by_row::<T, W>(&rows, stride, &mut found, out_stride);
        assert_eq!(found, expected);
    }

    #[test]
    fn rows_of_f32_become_columns() {
        rows_become_columns::<_, 1>(f32::from);
    }

    #[test]
    fn rows_of_pairs_become_columns() {
        rows_become_columns::<_, 2>(bf16::from_bits);
    }

    fn is_refused<T: Float>(rows: usize, stride: usize, out: usize, out_stride: usize) -> bool {
        let run = || {
            let zeros = |count| vec![T::from_f32(0.0); count];
            transpose(&zeros(rows), stride, &mut zeros(out), out_stride);
        };
        std::panic::catch_unwind(run).is_err()
    }

    #[test]
    fn slices_that_are_too_short_are_refused() {
        assert!(!is_refused::<f32>(256, 16, 256, 16) && !is_refused::<f32>(15 * 20 + 16, 20, 256, 16));
        assert!(is_refused::<f32>(255, 16, 256, 16) && is_refused::<f32>(256, 16, 255, 16));
        assert!(is_refused::<f32>(256, usize::MAX / 8, 256, 16) && is_refused::<f32>(256, 16, 256, 15));
        assert!(!is_refused::<bf16>(512, 32, 512, 32));
        assert!(is_refused::<bf16>(511, 32, 512, 32) && is_refused::<bf16>(512, 32, 511, 32));
    }
}
