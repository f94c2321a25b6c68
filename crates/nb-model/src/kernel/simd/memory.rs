//! What vector registers are good for beside numbers: matrices the other way round, and hints to the caches.
#![expect(unsafe_code, reason = "instructions that are asked for first, and pointers whose ends are checked")]

#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected;

/// Rows and columns of what [`transpose`] takes at once.
pub(crate) const SQUARE: usize = 16;

/// Numbers of which one or two are a word of 32 bits.
const fn in_word<T>() -> usize {
    const { assert!(size_of::<T>() == 2 || size_of::<T>() == 4, "one or two in 32 bits") };
    4 / size_of::<T>()
}

/// [`SQUARE`] words of as many rows, which begin `stride` entries apart, become as many words of rows of `out`, which begin
/// `out_stride` entries apart: word j of row i there is word i of row j here.
///
/// # Panics
/// If there are fewer.
pub(crate) fn transpose<T: Copy>(rows: &[T], stride: usize, out: &mut [T], out_stride: usize) {
    let width = in_word::<T>() * SQUARE;
    let ends = [stride, out_stride].map(|apart| apart.checked_mul(SQUARE - 1).and_then(|last| last.checked_add(width)));
    let [end, out_end] = ends.map(|end| end.unwrap_or(usize::MAX));
    let found = [rows.len(), out.len()];
    assert!(end <= found[0] && out_end <= found[1], "a square needs {end} and {out_end} entries, there are {found:?}");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions; all reads and writes end before those ends.
        return unsafe { in_registers(rows.as_ptr(), stride, out.as_mut_ptr(), out_stride) };
    }
    one_by_one(rows, stride, out, out_stride);
}

fn one_by_one<T: Copy>(rows: &[T], stride: usize, out: &mut [T], out_stride: usize) {
    let word = in_word::<T>();
    for i in 0..SQUARE {
        for j in 0..SQUARE {
            let (from, to) = (j * stride + i * word, i * out_stride + j * word);
            out[to..to + word].copy_from_slice(&rows[from..from + word]);
        }
    }
}

/// # Safety
/// `rows` and `out` point to [`SQUARE`] rows of 64 bytes each, which begin `stride` and `out_stride` entries apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn in_registers<T>(rows: *const T, stride: usize, out: *mut T, out_stride: usize) {
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
    // `four[4 g + c]` holds, of the rows of group g, words c, 4 + c, 8 + c and 12 + c, one in each quarter.
    for c in 0..4 {
        let [g0, g1, g2, g3] = [four[c], four[4 + c], four[8 + c], four[12 + c]];
        let (even01, odd01) = (_mm512_shuffle_i32x4::<0x88>(g0, g1), _mm512_shuffle_i32x4::<0xdd>(g0, g1));
        let (even23, odd23) = (_mm512_shuffle_i32x4::<0x88>(g2, g3), _mm512_shuffle_i32x4::<0xdd>(g2, g3));
        let whole = [
            _mm512_shuffle_i32x4::<0x88>(even01, even23),
            _mm512_shuffle_i32x4::<0x88>(odd01, odd23),
            _mm512_shuffle_i32x4::<0xdd>(even01, even23),
            _mm512_shuffle_i32x4::<0xdd>(odd01, odd23),
        ];
        for (quarter, words) in whole.into_iter().enumerate() {
            // SAFETY: a row is 64 bytes.
            unsafe { _mm512_storeu_si512(out.add((4 * quarter + c) * out_stride).cast(), words) };
        }
    }
}

/// Has numbers that are needed soon come to the first cache.
#[inline(always)]
pub(crate) fn fetch<T>(numbers: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which every such processor has, and which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    /// Rows that are longer than a square, in both directions, by whole words and by halves of them.
    fn rows_become_columns<T: Copy + PartialEq + std::fmt::Debug>(number: impl Fn(u16) -> T) {
        let (stride, out_stride, word) = (37, 50, in_word::<T>());
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
        one_by_one(&rows, stride, &mut found, out_stride);
        assert_eq!(found, expected);
    }

    #[test]
    fn rows_of_f32_become_columns() {
        rows_become_columns(f32::from);
    }

    #[test]
    fn rows_of_pairs_become_columns() {
        rows_become_columns(bf16::from_bits);
    }

    #[test]
    fn too_few_rows_are_refused() {
        let runs = |rows: usize, stride, out: usize, out_stride| {
            let run = || transpose(&vec![0.0_f32; rows], stride, &mut vec![0.0; out], out_stride);
            std::panic::catch_unwind(run).is_ok()
        };
        assert!(runs(256, 16, 256, 16) && runs(15 * 20 + 16, 20, 256, 16));
        assert!(!runs(255, 16, 256, 16) && !runs(256, 16, 255, 16) && !runs(256, usize::MAX / 8, 256, 16));
    }
}
