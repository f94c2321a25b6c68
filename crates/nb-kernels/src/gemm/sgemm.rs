//! f32 products by AVX-512 or AVX2, one number at a time.
#![expect(unsafe_code, reason = "calls functions compiled for instructions that the caller guarantees")]

use std::cell::Cell;
use std::thread::LocalKey;

use nb_cpu::Products;
use pulp::WithSimd;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::element::{Isa, Microkernel, check_sums};
#[cfg(target_arch = "x86_64")]
use super::microkernel::sum_words;
use super::operands::{Columns, MicroPanel, MicroTile, NR};
use crate::simd::dispatch;

impl Microkernel for f32 {
    fn is_available() -> bool {
        nb_cpu::has_avx2()
    }

    fn is_fastest() -> bool {
        Products::of_f32() != Products::Libtorch
    }

    fn scratch() -> &'static LocalKey<Cell<Vec<Self>>> {
        thread_local!(static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) });
        &SCRATCH
    }

    fn interleave(_: Isa<Self>, columns: &Columns<'_, Self>, width: usize, words: &mut [Self]) {
        let (matrix, range) = (columns.matrix, &columns.range);
        for (row, step) in matrix.entries.chunks_exact(matrix.columns).zip(words.chunks_exact_mut(width)) {
            let (step, beyond) = step.split_at_mut(range.len());
            step.copy_from_slice(&row[range.clone()]);
            beyond.fill(0.0);
        }
    }

    fn add_sums(_: Isa<Self>, words: &[Self], width: usize, sums: &mut [f32]) {
        check_sums(width, sums);
        dispatch(|| {
            let mut parts = vec![0.0; sums.len()];
            for step in words.chunks_exact(width) {
                parts.iter_mut().zip(step).for_each(|(part, x)| *part += x);
            }
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        });
    }

    #[inline(always)]
    fn store(_: Isa<Self>, sums: &[f32; NR], out: &mut [Self]) {
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum);
    }

    fn run<K: WithSimd>(_: Isa<Self>, kernel: K) -> K::Output {
        dispatch(kernel)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sum(left: MicroPanel<'_, Self>, right: *const Self, words: usize, sums: &mut MicroTile) {
        use std::arch::x86_64::{_mm512_castsi512_ps, _mm512_fmadd_ps};

        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn compiled(left: MicroPanel<'_, f32>, right: *const f32, words: usize, sums: &mut MicroTile) {
            let fused = |sum, x, y| _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(y), sum);
            // SAFETY: the caller guarantees the instructions and the bounds.
            unsafe { sum_words(left, right, words, sums, fused) }
        }
        // SAFETY: the caller guarantees the bounds; an `Isa` exists where the processor has AVX2, and AVX-512 is checked.
        unsafe {
            if nb_cpu::has_avx512f() {
                compiled(left, right, words, sums);
            } else {
                avx2::sum(left, right, words, sums);
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn sum(_: MicroPanel<'_, Self>, _: *const Self, _: usize, _: &mut MicroTile) {
        unreachable!("instructions of another processor")
    }
}
