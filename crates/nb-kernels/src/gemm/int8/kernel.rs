//! One micro-tile of an int8 product: the sums, then scales, bias and activation.
#![expect(
    unsafe_code,
    reason = "calls functions compiled for instructions, which are detected here, and checks their bounds"
)]

use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use super::layout::{Sums, WORD};
#[cfg(target_arch = "x86_64")]
use super::{avx2, vnni};
use crate::activation::Activation;
use crate::gemm::operands::{MR, MicroPanel, NR};
use crate::gemm::tile::{Position, TileMut};
use crate::simd::activate;

/// A proof that the processor has the instructions of a kernel. All kernels give the same sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernel(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Scalar,
}

impl Kernel {
    /// Returns the kernels for this processor, the slowest first.
    pub(super) fn available() -> Vec<Self> {
        let mut all = vec![Self(Instructions::Scalar)];
        #[cfg(target_arch = "x86_64")]
        all.extend(nb_cpu::has_avx2().then_some(Self(Instructions::Avx2)));
        #[cfg(target_arch = "x86_64")]
        all.extend(nb_cpu::has_avx512vnni().then_some(Self(Instructions::Vnni)));
        all
    }

    /// Returns the fastest one.
    pub(super) fn fastest() -> Self {
        static FASTEST: LazyLock<Kernel> = LazyLock::new(|| {
            Kernel::available().pop().unwrap_or(Kernel(Instructions::Scalar)) // never empty
        });
        *FASTEST
    }

    /// Runs `block`, compiled for the processor.
    pub(super) fn run(self, block: Block<'_, '_>) {
        Arch::new().dispatch(block);
    }

    /// Computes the sums of a micro-tile: for each row and column over all words of the panel.
    ///
    /// # Panics
    ///
    /// If there are no rows or more than a micro-tile has, if words are not side by side, or if the rows have fewer words than the
    /// panel.
    #[inline(always)]
    pub(super) fn sum(self, left: MicroPanel<'_, u8>, panel: &[i8], sums: &mut Sums) {
        let words = panel.len() / (WORD * NR);
        assert!((1..=MR).contains(&left.rows), "a micro-tile of {} rows, expected 1 to {MR}", left.rows);
        let end = (left.rows - 1) as u128 * left.row_stride as u128 + (words * WORD) as u128; // strides may have any size
        let fits = left.word_stride == WORD && end <= left.entries.len() as u128;
        assert!(fits, "a micro-tile of {} entries, expected {end}", left.entries.len());
        match self.0 {
            // SAFETY: `available` creates a kernel only where the processor has its instructions; the bounds are checked above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Vnni => unsafe { vnni::sum(left, panel.as_ptr(), words, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::sum(left, panel.as_ptr(), words, sums) },
            Instructions::Scalar => scalar(left, panel, sums),
        }
    }
}

fn scalar(left: MicroPanel<'_, u8>, panel: &[i8], sums: &mut Sums) {
    for (i, sums) in sums.iter_mut().take(left.rows).enumerate() {
        sums.fill(0);
        let row = &left.entries[i * left.row_stride..];
        for (word, step) in row.chunks_exact(WORD).zip(panel.chunks_exact(WORD * NR)) {
            for (sum, weights) in sums.iter_mut().zip(step.chunks_exact(WORD)) {
                *sum += word.iter().zip(weights).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum::<i32>();
            }
        }
    }
}

/// The numbers that turn the sums of a panel's columns into results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dequantise<'a> {
    pub(super) scales: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) offsets: &'a [i32],
    pub(super) activation: Option<Activation>,
}

/// A micro-tile.
pub(super) struct Block<'a, 'o> {
    pub(super) kernel: Kernel,
    pub(super) left: MicroPanel<'a, u8>,
    pub(super) panel: &'a [i8],
    pub(super) row_scales: &'a [f32],
    pub(super) dequantise: Dequantise<'a>,
    pub(super) at: Position,
    pub(super) out: &'a mut TileMut<'o, f32>,
}

impl WithSimd for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernel, left, panel, row_scales, dequantise, at, out } = self;
        let Dequantise { scales, bias, offsets, activation } = dequantise;
        let mut sums: Sums = [[0; NR]; MR];
        kernel.sum(left, panel, &mut sums);
        for (i, (sums, row_scale)) in sums.iter().zip(row_scales).enumerate() {
            let mut results = [0.0; NR];
            for j in 0..NR {
                results[j] = (sums[j] - offsets[j]) as f32 * (row_scale * scales[j]) + bias[j];
            }
            if let Some(activation) = activation {
                for results in S::as_mut_simd_f32s(&mut results).0 {
                    *results = activate(simd, activation, *results);
                }
            }
            let out = out.row_mut(Position { row: at.row + i, ..at });
            out.copy_from_slice(&results[..out.len()]);
        }
    }
}
