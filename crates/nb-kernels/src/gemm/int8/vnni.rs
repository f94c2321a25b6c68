//! Micro-tiles by AVX-512 VNNI. The sums stay in registers until they are results.
#![expect(
    unsafe_code,
    reason = "reads through pointers that the caller checks, and writes registers to results of that length"
)]

use std::arch::x86_64::{
    __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_sub_epi32,
};

use super::layout::{Dequantise, Results, WORD};
use crate::gemm::operands::{MR, MicroPanel, NR};

/// Numbers in a register of sums.
const LANES: usize = 16;
const REGISTERS: usize = NR / LANES;

/// Computes a micro-tile without the activation, over `words` words.
///
/// # Safety
///
/// The processor has AVX-512 VNNI. `left` has at least one row and `words` words in each row; `panel` points to `words` steps.
pub(super) unsafe fn tile(
    left: MicroPanel<'_, u8>,
    row_scales: &[f32],
    panel: *const i8,
    words: usize,
    dequantise: Dequantise<'_>,
    out: &mut Results<'_>,
) {
    // SAFETY: the caller guarantees the instructions and the bounds, and there are as many rows as the argument says.
    unsafe {
        match left.rows {
            1 => rows::<1>(left, row_scales, panel, words, dequantise, out),
            2 => rows::<2>(left, row_scales, panel, words, dequantise, out),
            3 => rows::<3>(left, row_scales, panel, words, dequantise, out),
            4 => rows::<4>(left, row_scales, panel, words, dequantise, out),
            5 => rows::<5>(left, row_scales, panel, words, dequantise, out),
            _ => rows::<MR>(left, row_scales, panel, words, dequantise, out),
        }
    }
}

/// Computes `R` rows. A row's results do not depend on `R`. The body has loops, not closures: they are compiled for the
/// instructions, and all of them have constant lengths but one, so that the sums stay in registers.
///
/// # Safety
///
/// As for [`tile`]; `left` has `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn rows<const R: usize>(
    left: MicroPanel<'_, u8>,
    row_scales: &[f32],
    panel: *const i8,
    words: usize,
    dequantise: Dequantise<'_>,
    out: &mut Results<'_>,
) {
    let mut rows = [left.entries.as_ptr(); R];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(i * left.row_stride);
    }
    // SAFETY: each read covers a word of a row, 64 bytes of a step, or 16 numbers of the columns; each write covers 16 results.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); REGISTERS]; R];
        for j in 0..REGISTERS {
            let offsets = _mm512_loadu_si512(dequantise.offsets.as_ptr().add(j * LANES).cast());
            for sums in &mut sums {
                sums[j] = _mm512_sub_epi32(_mm512_setzero_si512(), offsets);
            }
        }
        for k in 0..words {
            let step = panel.add(k * WORD * NR).cast::<__m512i>();
            let mut right = [_mm512_setzero_si512(); REGISTERS];
            for (j, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(step.add(j));
            }
            for (sums, row) in sums.iter_mut().zip(rows) {
                let word = _mm512_set1_epi32(row.add(k * WORD).cast::<i32>().read_unaligned());
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = _mm512_dpbusd_epi32(*sum, word, right);
                }
            }
        }
        for ((sums, row_scale), out) in sums.iter().zip(row_scales).zip(out) {
            let Some(out) = out else { continue };
            for (j, sums) in sums.iter().enumerate() {
                let scales = _mm512_loadu_ps(dequantise.scales.as_ptr().add(j * LANES));
                let bias = _mm512_loadu_ps(dequantise.bias.as_ptr().add(j * LANES));
                let scales = _mm512_mul_ps(_mm512_set1_ps(*row_scale), scales);
                let results = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*sums), scales, bias);
                _mm512_storeu_ps(out.as_mut_ptr().add(j * LANES), results);
            }
        }
    }
}
