//! bf16 products by AVX-512 BF16, which multiplies two numbers at a time and accumulates in f32.
#![expect(unsafe_code, reason = "calls functions compiled for instructions, which an `Isa` proves")]

use std::cell::Cell;
use std::sync::LazyLock;
use std::thread::LocalKey;

use half::bf16;
use nb_cpu::Products;
use pulp::WithSimd;

#[cfg(target_arch = "x86_64")]
use super::avx512bf16;
use super::element::{Isa, Microkernel, check_sums};
use super::operands::{Columns, MicroPanel, MicroTile, NR};

impl Microkernel for bf16 {
    fn is_available() -> bool {
        static IS_AVAILABLE: LazyLock<bool> = LazyLock::new(has_instructions);
        *IS_AVAILABLE
    }

    fn is_fastest() -> bool {
        static IS_FASTEST: LazyLock<bool> = LazyLock::new(|| Products::of_bf16() == Products::Avx512Bf16);
        *IS_FASTEST
    }

    fn scratch() -> &'static LocalKey<Cell<Vec<Self>>> {
        thread_local!(static SCRATCH: Cell<Vec<bf16>> = const { Cell::new(Vec::new()) });
        &SCRATCH
    }

    fn interleave(_: Isa<Self>, columns: &Columns<'_, Self>, width: usize, words: &mut [Self]) {
        let (matrix, range) = (columns.matrix, &columns.range);
        let pairs_of_rows = matrix.entries.chunks(2 * matrix.columns);
        for (rows, step) in pairs_of_rows.zip(words.chunks_exact_mut(2 * width)) {
            let (upper, lower) = rows.split_at(matrix.columns);
            let (upper, lower) = (&upper[range.clone()], lower.get(range.clone()));
            let (step, beyond) = step.split_at_mut(2 * range.len());
            // SAFETY: an `Isa` exists, so the processor has the instructions.
            unsafe { avx512bf16::interleave(upper, lower, step) };
            beyond.fill(Self::ZERO);
        }
    }

    fn add_sums(_: Isa<Self>, words: &[Self], width: usize, sums: &mut [f32]) {
        check_sums(width, sums);
        // SAFETY: as above.
        unsafe { avx512bf16::add_sums(words, width, sums) }
    }

    #[inline(always)]
    fn store(_: Isa<Self>, sums: &[f32; NR], out: &mut [Self]) {
        if let Ok(out) = out.try_into() {
            // SAFETY: as above.
            return unsafe { avx512bf16::round(sums, out) };
        }
        let mut all = [Self::ZERO; NR];
        // SAFETY: as above.
        unsafe { avx512bf16::round(sums, &mut all) };
        out.copy_from_slice(&all[..out.len()]);
    }

    fn run<K: WithSimd>(_: Isa<Self>, kernel: K) -> K::Output {
        // SAFETY: as above.
        unsafe { avx512bf16::run(kernel) }
    }

    #[inline(always)]
    unsafe fn sum(left: MicroPanel<'_, Self>, right: *const Self, words: usize, sums: &mut MicroTile) {
        // SAFETY: the caller guarantees the instructions and the bounds.
        unsafe { avx512bf16::sum(left, right, words, sums) }
    }
}

fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return pulp::x86::V4::try_new().is_some() && nb_cpu::has_avx512bf16();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Never called: no [`Isa`] exists on other processors.
#[cfg(not(target_arch = "x86_64"))]
mod avx512bf16 {
    use half::bf16;
    use pulp::WithSimd;

    use super::{MicroPanel, MicroTile, NR};

    pub(super) unsafe fn run<K: WithSimd>(_: K) -> K::Output {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn sum(_: MicroPanel<'_, bf16>, _: *const bf16, _: usize, _: &mut MicroTile) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn interleave(_: &[bf16], _: Option<&[bf16]>, _: &mut [bf16]) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn add_sums(_: &[bf16], _: usize, _: &mut [f32]) {
        unreachable!("instructions of another processor")
    }

    pub(super) unsafe fn round(_: &[f32; NR], _: &mut [bf16; NR]) {
        unreachable!("instructions of another processor")
    }
}
