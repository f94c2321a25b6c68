//! The backward pass of one sequence.

use pulp::{Simd, WithSimd};

use super::scratch::{Scratch, resized, transpose_into};
use super::sequence::{Part, Sequence};
use crate::float::Float;
use crate::simd::{Operand, Rhs, dispatch, multiply_small};
use crate::softmax::{Softmax, softmax_backward};

/// Inputs and outputs of one sequence.
pub(super) struct Backward<'a, T> {
    pub(super) sequence: Sequence,
    /// [length, H]
    pub(super) grad: &'a [T],
    /// [length, 3H]
    pub(super) qkv: &'a [T],
    /// [heads, length]
    pub(super) softmax: &'a [Softmax],
    /// [length, 3H]
    pub(super) out: &'a mut [T],
}

impl<T: Float> Backward<'_, T> {
    pub(super) fn run(self, scratch: &mut Scratch) {
        dispatch(WithScratch { task: self, scratch });
    }
}

struct WithScratch<'a, 's, T> {
    task: Backward<'a, T>,
    scratch: &'s mut Scratch,
}

impl<T: Float> WithSimd for WithScratch<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { mut task, scratch } = self;
        let l = task.sequence.length;
        task.sequence.mark_keys(&mut scratch.present);
        for (head, softmax) in task.softmax.chunks_exact(l).enumerate() {
            task.read(head, scratch);
            task.recompute_weights(simd, softmax, scratch);
            task.value_and_weights_grads(simd, head, scratch);
            task.query_and_key_grads(simd, head, scratch);
        }
    }
}

/// The steps for one head. They are inlined into the kernel and therefore compiled for the same registers.
impl<T: Float> Backward<'_, T> {
    /// Reads queries, keys, values and dL/d(output).
    #[inline(always)]
    fn read(&self, head: usize, scratch: &mut Scratch) {
        let sequence = self.sequence;
        let [query, key, value] = [Part::Query, Part::Key, Part::Value].map(|part| sequence.qkv_slice(head, part));
        let grad = sequence.out_slice(head);
        query.read(self.qkv, sequence.heads.scale(), &mut scratch.query);
        key.read(self.qkv, 1.0, &mut scratch.key);
        grad.read(self.grad, 1.0, &mut scratch.grad);
        [query, key, value].into_iter().for_each(|slice| slice.prefetch_next(self.qkv));
        grad.prefetch_next(self.grad);
        value.read(self.qkv, 1.0, &mut scratch.value);
    }

    /// Computes the weights before dropout, as the forward pass did.
    #[inline(always)]
    fn recompute_weights<S: Simd>(&self, simd: S, softmax: &[Softmax], scratch: &mut Scratch) {
        let (l, d, keys) = (self.sequence.length, self.sequence.heads.width(), self.sequence.keys());
        transpose_into(&scratch.key[..keys * d], d, &mut scratch.transposed);
        let weights = resized(&mut scratch.weights, l * keys);
        let keys_matrix = Rhs { entries: &scratch.transposed, rows: d, columns: keys };
        multiply_small(simd, Operand::Rows { entries: &scratch.query, stride: d }, keys_matrix, weights);
        for (row, softmax) in weights.chunks_exact_mut(keys).zip(softmax) {
            softmax.recompute(simd, row, &scratch.present);
        }
    }

    /// Writes dL/dV, and leaves dL/d(weights) in the scratch space.
    #[inline(always)]
    fn value_and_weights_grads<S: Simd>(&mut self, simd: S, head: usize, scratch: &mut Scratch) {
        let sequence = self.sequence;
        let (l, d, keys) = (sequence.length, sequence.heads.width(), sequence.keys());
        transpose_into(&scratch.value[..keys * d], d, &mut scratch.transposed);
        let scores_grad = resized(&mut scratch.scores_grad, l * keys);
        let values_matrix = Rhs { entries: &scratch.transposed, rows: d, columns: keys };
        multiply_small(simd, Operand::Rows { entries: &scratch.grad, stride: d }, values_matrix, scores_grad);

        let dropped = resized(&mut scratch.dropped, l * keys);
        dropped.copy_from_slice(&scratch.weights[..l * keys]);
        if let Some(dropout) = sequence.dropout {
            let mask = resized(&mut scratch.mask, l * keys);
            dropout.part(head).mask(mask);
            dropped.iter_mut().zip(&*mask).for_each(|(weight, mask)| *weight *= *mask);
            scores_grad.iter_mut().zip(&*mask).for_each(|(grad, mask)| *grad *= *mask);
        }

        let out = resized(&mut scratch.out, l * d);
        let grad_matrix = Rhs { entries: &scratch.grad, rows: l, columns: d };
        multiply_small(simd, Operand::Transposed { entries: dropped, stride: keys }, grad_matrix, out);
        sequence.qkv_slice(head, Part::Value).write(out, 1.0, self.out);
    }

    /// Turns dL/d(weights) into dL/d(scores), and writes dL/dQ and dL/dK.
    #[inline(always)]
    fn query_and_key_grads<S: Simd>(&mut self, simd: S, head: usize, scratch: &mut Scratch) {
        let sequence = self.sequence;
        let (l, d, keys) = (sequence.length, sequence.heads.width(), sequence.keys());
        let scores_grad = &mut scratch.scores_grad[..l * keys];
        let weights = &scratch.weights[..l * keys];
        for (grad, weights) in scores_grad.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
            softmax_backward(simd, grad, weights);
        }

        let out = resized(&mut scratch.out, l * d);
        let keys_matrix = Rhs { entries: &scratch.key, rows: l, columns: d };
        multiply_small(simd, Operand::Rows { entries: scores_grad, stride: keys }, keys_matrix, out);
        sequence.qkv_slice(head, Part::Query).write(out, sequence.heads.scale(), self.out);
        let queries_matrix = Rhs { entries: &scratch.query, rows: l, columns: d };
        multiply_small(simd, Operand::Transposed { entries: scores_grad, stride: keys }, queries_matrix, out);
        sequence.qkv_slice(head, Part::Key).write(out, 1.0, self.out); // the queries are scaled already
    }
}
