//! Weights quantised to 8 bits.

use pulp::Arch;

use super::rows::{ROUND, Step, max_abs};
use crate::gemm::operands::Matrix;

/// Weights quantised to 8 bits, each output with its own scale: W ≈ s_o · w.
///
/// ```
/// use nb_kernels::gemm::{Int8Weights, Matrix};
/// let weights = Int8Weights::quantise(Matrix { entries: &[127.0, -1.0, 0.5, 0.0], columns: 2 });
/// assert_eq!(weights.entries, [127, -1, 127, 0]);
/// assert_eq!(weights.scales, [1.0, 0.5 / 127.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Weights {
    /// w [out, in].
    pub entries: Vec<i8>,
    /// s_o \[out\]; NaN for an output with a weight that is NaN or infinite.
    pub scales: Vec<f32>,
}

impl Int8Weights {
    /// Quantises `weight` W [out, in], with w from −127 to 127 and s_o = max|W_o| / 127.
    ///
    /// # Panics
    ///
    /// If the last row is incomplete.
    pub fn quantise(weight: Matrix<'_, f32>) -> Self {
        let Matrix { entries: weights, columns } = weight;
        assert!(columns > 0 && weights.len().is_multiple_of(columns), "{} weights in rows of {columns}", weights.len());
        let (mut entries, mut scales) = (vec![0; weights.len()], vec![0.0; weights.len() / columns]);
        let rows = weights.chunks_exact(columns).zip(entries.chunks_exact_mut(columns)).zip(&mut scales);
        Arch::new().dispatch(|| {
            for ((weights, entries), scale) in rows {
                let step = Step::of(max_abs(weights));
                *scale = step.scale;
                for (entry, weight) in entries.iter_mut().zip(weights) {
                    *entry = (weight * step.inverse + ROUND).to_bits() as i8;
                }
            }
        });
        Self { entries, scales }
    }
}

/// Quantised weights in memory that belongs to something else, such as a mapped file.
#[derive(Debug, Clone, Copy)]
pub struct Int8Matrix<'a> {
    /// w [out, in].
    pub entries: &'a [i8],
    /// Entries in a row: in.
    pub columns: usize,
    /// s_o \[out\].
    pub scales: &'a [f32],
}
