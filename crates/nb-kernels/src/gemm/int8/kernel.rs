//! The micro-tiles of an int8 product: the sums, then scales, bias and activation.
#![expect(
    unsafe_code,
    reason = "calls functions compiled for instructions, which are detected here, and checks their bounds"
)]

use std::ops::Range;
use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "x86_64")]
use super::avxvnni;
use super::layout::{Dequantise, Results, Sums, WORD};
use super::rows::Int8Rows;
#[cfg(target_arch = "x86_64")]
use super::vnni;
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
    AvxVnni,
    /// The body of [`Instructions::AvxVnni`] with the instruction of AVX-512 VNNI, for tests on processors without AVX-VNNI.
    #[cfg(all(test, target_arch = "x86_64"))]
    HalfVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Scalar,
}

impl Kernel {
    /// Returns the kernels for this processor, the slowest first.
    pub(super) fn available() -> Vec<Self> {
        let mut all = vec![Self(Instructions::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = nb_cpu::has_avx2();
            all.extend(avx2.then_some(Self(Instructions::Avx2)));
            all.extend((avx2 && nb_cpu::has_avxvnni()).then_some(Self(Instructions::AvxVnni)));
            all.extend(nb_cpu::has_avx512vnni().then_some(Self(Instructions::Vnni)));
        }
        all
    }

    /// Returns the kernel of AVX-VNNI with the instruction of AVX-512 VNNI, if the processor has it.
    #[cfg(test)]
    pub(super) fn half_vnni() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return (nb_cpu::has_avx2() && nb_cpu::has_avx512vnni() && std::is_x86_feature_detected!("avx512vl"))
            .then_some(Self(Instructions::HalfVnni));
        #[cfg(not(target_arch = "x86_64"))]
        return None;
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

    /// Computes a micro-tile without the activation: for each row and column, the sum over all words of the panel, times the scales,
    /// plus the bias. `out` has a place for each row of `left`.
    ///
    /// # Panics
    ///
    /// If there are no rows or more than a micro-tile has, if there is not one scale per row, if words are not side by side, or if
    /// the rows have fewer words than the panel.
    #[inline(always)]
    pub(super) fn tile(
        self,
        left: MicroPanel<'_, u8>,
        row_scales: &[f32],
        panel: &[i8],
        dequantise: Dequantise<'_>,
        out: &mut Results<'_>,
    ) {
        let words = panel.len() / (WORD * NR);
        assert!((1..=MR).contains(&left.rows), "a micro-tile of {} rows, expected 1 to {MR}", left.rows);
        assert_eq!(row_scales.len(), left.rows, "scales of a micro-tile's rows");
        let end = (left.rows - 1) as u128 * left.row_stride as u128 + (words * WORD) as u128; // strides may have any size
        let fits = left.word_stride == WORD && end <= left.entries.len() as u128;
        assert!(fits, "a micro-tile of {} entries, expected {end}", left.entries.len());
        match self.0 {
            // SAFETY: `available` creates a kernel only where the processor has its instructions; the bounds are checked above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Vnni => unsafe { vnni::tile(left, row_scales, panel.as_ptr(), words, dequantise, out) },
            // SAFETY: as above.
            _ => unsafe { self.tile_from_sums(left, row_scales, panel, dequantise, out) },
        }
    }

    /// Computes a micro-tile with a kernel that computes sums. It is not part of [`Kernel::tile`], which would fill `sums` with zeros
    /// for the others, too.
    ///
    /// # Safety
    ///
    /// The bounds are those that [`Kernel::tile`] checks.
    #[inline(never)]
    unsafe fn tile_from_sums(
        self,
        left: MicroPanel<'_, u8>,
        row_scales: &[f32],
        panel: &[i8],
        dequantise: Dequantise<'_>,
        out: &mut Results<'_>,
    ) {
        let mut sums: Sums = [[0; NR]; MR];
        #[cfg(target_arch = "x86_64")]
        let words = panel.len() / (WORD * NR);
        match self.0 {
            // SAFETY: `available` creates a kernel only where the processor has its instructions; the caller guarantees the bounds.
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => unsafe { avxvnni::sum(left, panel.as_ptr(), words, &mut sums) },
            // SAFETY: `half_vnni` checks for the instructions; the caller guarantees the bounds.
            #[cfg(all(test, target_arch = "x86_64"))]
            Instructions::HalfVnni => unsafe { avxvnni::sum_with_avx512(left, panel.as_ptr(), words, &mut sums) },
            // SAFETY: as for AVX-VNNI.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::sum(left, panel.as_ptr(), words, &mut sums) },
            _ => scalar(left, panel, &mut sums),
        }
        Arch::new().dispatch(|| {
            for ((sums, row_scale), out) in sums.iter().zip(row_scales).zip(out) {
                let Some(out) = out else { continue };
                for j in 0..NR {
                    let sum = (sums[j] - dequantise.offsets[j]) as f32;
                    out[j] = sum * (row_scale * dequantise.scales[j]) + dequantise.bias[j];
                }
            }
        });
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

/// Rows that are multiplied with one panel.
pub(super) struct Block<'a, 'o> {
    pub(super) kernel: Kernel,
    pub(super) rows: &'a Int8Rows,
    /// The rows to multiply.
    pub(super) range: Range<usize>,
    pub(super) panel: &'a [i8],
    pub(super) dequantise: Dequantise<'a>,
    pub(super) activation: Option<Activation>,
    /// The panel's first column in the result.
    pub(super) column: usize,
    pub(super) out: &'a mut TileMut<'o, f32>,
}

impl WithSimd for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernel, rows, range, panel, dequantise, activation, column, out } = self;
        let mut buffer = [[0.0; NR]; MR];
        for row in range.clone().step_by(MR) {
            let tile = row..range.end.min(row + MR);
            let (left, scales, at) =
                (rows.micro_panel(tile.clone()), &rows.scales()[tile.clone()], Position { row, column });
            if activation.is_none() && out.row(at).len() == NR {
                kernel.tile(left, scales, panel, dequantise, &mut out.panel_rows(at, tile.len()));
                continue;
            }
            kernel.tile(left, scales, panel, dequantise, &mut buffer.each_mut().map(Some));
            for (row, results) in tile.zip(&mut buffer) {
                finish(simd, activation, results, out.row_mut(Position { row, column }));
            }
        }
    }
}

/// Applies the activation, and writes as many results as `out` has entries.
#[inline(always)]
fn finish<S: Simd>(simd: S, activation: Option<Activation>, results: &mut [f32; NR], out: &mut [f32]) {
    if let Some(activation) = activation {
        if let Ok(out) = <&mut [f32; NR]>::try_from(&mut *out) {
            for (out, result) in S::as_mut_simd_f32s(out).0.iter_mut().zip(S::as_simd_f32s(results).0) {
                *out = activate(simd, activation, *result);
            }
            return;
        }
        for result in S::as_mut_simd_f32s(results).0 {
            *result = activate(simd, activation, *result);
        }
    }
    out.copy_from_slice(&results[..out.len()]);
}
