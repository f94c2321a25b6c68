//! The forward pass of one sequence.

use pulp::{Simd, WithSimd};

use super::scratch::{Scratch, resized, transpose_into};
use super::sequence::{Part, Sequence};
use crate::float::Float;
use crate::simd::{Operand, Rhs, dispatch, multiply_small};
use crate::softmax::Softmax;

/// Inputs and outputs of one sequence.
pub(super) struct Forward<'a, T> {
    pub(super) sequence: Sequence,
    /// [length, 3H]
    pub(super) qkv: &'a [T],
    /// [length, H]
    pub(super) out: &'a mut [T],
    /// [heads, length]
    pub(super) softmax: &'a mut [Softmax],
}

impl<T: Float> Forward<'_, T> {
    pub(super) fn run(self, scratch: &mut Scratch) {
        dispatch(WithScratch { task: self, scratch });
    }
}

struct WithScratch<'a, 's, T> {
    task: Forward<'a, T>,
    scratch: &'s mut Scratch,
}

impl<T: Float> WithSimd for WithScratch<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task: Forward { sequence, qkv, out: all_out, softmax }, scratch } = self;
        let (l, d, keys) = (sequence.length, sequence.heads.width(), sequence.keys());
        sequence.mark_keys(&mut scratch.present);
        for (head, softmax) in softmax.chunks_exact_mut(l).enumerate() {
            let [query, key, value] = [Part::Query, Part::Key, Part::Value].map(|part| sequence.qkv_slice(head, part));
            query.read(qkv, sequence.heads.scale(), &mut scratch.query);
            key.read(qkv, 1.0, &mut scratch.key);
            value.read(qkv, 1.0, &mut scratch.value);
            [query, key, value].into_iter().for_each(|slice| slice.prefetch_next(qkv));

            transpose_into(&scratch.key[..keys * d], d, &mut scratch.transposed);
            let weights = resized(&mut scratch.weights, l * keys);
            let keys_matrix = Rhs { entries: &scratch.transposed, rows: d, columns: keys };
            multiply_small(simd, Operand::Rows { entries: &scratch.query, stride: d }, keys_matrix, weights);
            for (row, softmax) in weights.chunks_exact_mut(keys).zip(softmax) {
                *softmax = Softmax::of(simd, row, &scratch.present);
            }
            if let Some(dropout) = sequence.dropout {
                let mask = resized(&mut scratch.mask, l * keys);
                dropout.part(head).mask(mask);
                weights.iter_mut().zip(mask).for_each(|(weight, mask)| *weight *= *mask);
            }

            let out = resized(&mut scratch.out, l * d);
            let values_matrix = Rhs { entries: &scratch.value, rows: l, columns: d };
            multiply_small(simd, Operand::Rows { entries: weights, stride: keys }, values_matrix, out);
            sequence.out_slice(head).write(out, 1.0, all_out);
        }
    }
}
