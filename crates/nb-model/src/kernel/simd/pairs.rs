//! Products with weights in bf16, two of them in a word of 32 bits: half as much comes from memory, which is what a product of few
//! rows waits for. They are widened in registers, so the sums are those of f32 weights, bit for bit.

use pulp::Simd;

/// Outputs of a row of weights: as many words hold two each.
pub(crate) const WIDTH: usize = 2 * WORDS;
const WORDS: usize = 16;
/// Rows of the largest tile, of which each takes two registers.
const ROWS: usize = 6;

/// Rows of [`WIDTH`] weights as words. Of a row, word i holds weight i in its low and weight i + 16 in its high half; what f32 has
/// beyond bf16 is cut off.
pub(crate) fn paired(weights: &[f32]) -> Vec<u32> {
    let row = |row: &[f32]| -> [u32; WORDS] {
        std::array::from_fn(|i| row[i].to_bits() >> 16 | row[i + WORDS].to_bits() & 0xffff_0000)
    };
    weights.chunks_exact(WIDTH).flat_map(row).collect()
}

/// `out` [m, WIDTH] = `left` [m, k] · the weights [k, WIDTH].
#[inline(always)]
pub(crate) fn product_of_pairs<S: Simd>(simd: S, left: &[f32], words: &[u32], (m, k): (usize, usize), out: &mut [f32]) {
    let mut row = 0;
    while row < m {
        let rows = match m - row {
            0..3 => 1,
            3..ROWS => 3,
            _ => ROWS,
        };
        let (left, out) = (&left[row * k..(row + rows) * k], &mut out[row * WIDTH..(row + rows) * WIDTH]);
        match rows {
            1 => strip::<S, 1>(simd, left, words, k, out),
            3 => strip::<S, 3>(simd, left, words, k, out),
            _ => strip::<S, ROWS>(simd, left, words, k, out),
        }
        row += rows;
    }
}

/// `R` rows of the result, a register of words at a time.
#[inline(always)]
fn strip<S: Simd, const R: usize>(simd: S, left: &[f32], words: &[u32], k: usize, out: &mut [f32]) {
    let lanes = S::U32_LANES;
    let rows: [&[f32]; R] = std::array::from_fn(|i| &left[i * k..(i + 1) * k]);
    let (half, mask) = (simd.splat_u32s(16), simd.splat_u32s(0xffff_0000));
    for column in (0..WORDS).step_by(lanes) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        for (j, words) in words.chunks_exact(WORDS).take(k).enumerate() {
            let words = S::as_simd_u32s(&words[column..column + lanes]).0[0];
            let low = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(words, half));
            let high = simd.transmute_f32s_u32s(simd.and_u32s(words, mask));
            for (sums, row) in sums.iter_mut().zip(rows) {
                let left = simd.splat_f32s(row[j]);
                sums[0] = simd.mul_add_e_f32s(left, low, sums[0]);
                sums[1] = simd.mul_add_e_f32s(left, high, sums[1]);
            }
        }
        for (out, [low, high]) in out.chunks_exact_mut(WIDTH).zip(sums) {
            S::as_mut_simd_f32s(&mut out[column..column + lanes]).0[0] = low;
            S::as_mut_simd_f32s(&mut out[WORDS + column..WORDS + column + lanes]).0[0] = high;
        }
    }
}
