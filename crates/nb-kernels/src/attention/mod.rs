//! Multi-head self-attention, softmax(Q Kᵀ/√D) V (Vaswani et al. 2017, equation 1): one head of one sequence at a time, from
//! queries, keys and values to the output.
//!
//! News articles are short: the scores of 64 tokens take 16 KiB. So all data stays in the L1 and L2 caches, no row is padding,
//! and no score is stored. The backward pass recomputes the weights from each row's largest score and sum, much as
//! FlashAttention does (Dao et al. 2022). All sums are f32, whatever the precision of the inputs.

mod backward;
mod forward;
mod heads;
mod inference;
mod scratch;
mod sequence;

use std::cell::Cell;

use crate::dropout::Dropout;
use crate::float::Float;
pub use crate::softmax::Softmax;
use crate::threads;
use backward::Backward;
use forward::Forward;
pub use heads::Heads;
use inference::Inference;
use scratch::Scratch;
use sequence::Sequence;

/// A batch of sequences whose n rows follow one another without padding.
///
/// ```
/// use nb_kernels::attention::{Batch, Heads, Softmax};
/// let batch = Batch { lengths: &[1, 2], heads: Heads::new(2, 1), dropout: None };
/// // Queries, keys and values of three rows. All keys are 0, so all weights of a sequence are equal.
/// let qkv = [0.0, 0.0, 0.0, 0.0, 7.0, 8.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 1.0, 0.0, 0.0, 3.0, 6.0_f32];
/// let (mut out, mut softmax) = ([0.0; 6], [Softmax::default(); 3]);
/// batch.forward(&qkv, &mut out, &mut softmax);
/// assert_eq!(out, [7.0, 8.0, 2.0, 4.0, 2.0, 4.0]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Rows of each sequence.
    pub lengths: &'a [usize],
    /// The heads of the layer.
    pub heads: Heads,
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
}

impl Batch<'_> {
    /// Writes the outputs of all heads side by side to `out` [n, H], from queries, keys and values side by side in `qkv`
    /// [n, 3H]. `softmax` [n·A] receives what [`Batch::backward`] needs. Runs on all threads.
    ///
    /// # Panics
    ///
    /// If lengths do not match.
    pub fn forward<T: Float>(&self, qkv: &[T], out: &mut [T], softmax: &mut [Softmax]) {
        let hidden = self.heads.hidden();
        self.check([qkv.len(), out.len(), softmax.len()], [3 * hidden, hidden, self.heads.count]);
        let (mut qkv, mut out, mut softmax) = (qkv, out, softmax);
        let mut tasks = Vec::with_capacity(self.lengths.len());
        for sequence in self.sequences() {
            let rows = sequence.length;
            tasks.push(Forward {
                sequence,
                qkv: qkv.split_off(..rows * 3 * hidden).unwrap_or_default(),
                out: out.split_off_mut(..rows * hidden).unwrap_or_default(),
                softmax: softmax.split_off_mut(..rows * self.heads.count).unwrap_or_default(),
            });
        }
        threads::for_each_with(tasks.into_iter(), Scratch::default, |scratch, task| task.run(scratch));
    }

    /// Writes dL/d(qkv) to `out` [n, 3H], from dL/d(out) `grad` [n, H] and the forward pass's `qkv` and `softmax`. Runs on all
    /// threads.
    ///
    /// # Panics
    ///
    /// As [`Batch::forward`].
    pub fn backward<T: Float>(&self, grad: &[T], qkv: &[T], softmax: &[Softmax], out: &mut [T]) {
        let (hidden, count) = (self.heads.hidden(), self.heads.count);
        let found = [grad.len(), qkv.len(), softmax.len(), out.len()];
        self.check(found, [hidden, 3 * hidden, count, 3 * hidden]);
        let (mut grad, mut qkv, mut softmax, mut out) = (grad, qkv, softmax, out);
        let mut tasks = Vec::with_capacity(self.lengths.len());
        for sequence in self.sequences() {
            let rows = sequence.length;
            tasks.push(Backward {
                sequence,
                grad: grad.split_off(..rows * hidden).unwrap_or_default(),
                qkv: qkv.split_off(..rows * 3 * hidden).unwrap_or_default(),
                softmax: softmax.split_off(..rows * count).unwrap_or_default(),
                out: out.split_off_mut(..rows * 3 * hidden).unwrap_or_default(),
            });
        }
        threads::for_each_with(tasks.into_iter(), Scratch::default, |scratch, task| task.run(scratch));
    }

    fn sequences(&self) -> impl Iterator<Item = Sequence> {
        self.lengths.iter().enumerate().map(|(i, &length)| Sequence {
            heads: self.heads,
            length,
            dropout: self.dropout.map(|dropout| dropout.part(i)),
        })
    }

    /// Panics unless each slice has as many entries as its width times the number of rows.
    fn check<const N: usize>(&self, found: [usize; N], widths: [usize; N]) {
        let rows: usize = self.lengths.iter().sum();
        let expected = widths.map(|width| width * rows);
        assert_eq!(found, expected, "entries of the slices of {rows} rows");
    }
}

/// Writes the outputs of all heads side by side to `out` [n, H], from queries, keys and values side by side in `qkv` [n, 3H], for
/// sequences of these lengths, one after the other. It is [`Batch::forward`] for a model in production: without dropout, and without
/// numbers for a backward pass. Outputs differ from those of [`Batch::forward`] by rounding only. Runs on all threads.
///
/// # Panics
///
/// If lengths do not match.
///
/// ```
/// use nb_kernels::attention::{Heads, attend};
/// let mut out = [0.0; 4];
/// // Two rows. All keys are 0, so both weights are equal.
/// attend(&[2], Heads::new(2, 1), &[1.0, 1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 1.0, 0.0, 0.0, 3.0, 6.0], &mut out);
/// assert_eq!(out, [2.0, 4.0, 2.0, 4.0]);
/// ```
pub fn attend(lengths: &[usize], heads: Heads, qkv: &[f32], out: &mut [f32]) {
    thread_local!(static BUFFER: Cell<Vec<f32>> = const { Cell::new(Vec::new()) });
    let (batch, hidden) = (Batch { lengths, heads, dropout: None }, heads.hidden());
    batch.check([qkv.len(), out.len()], [3 * hidden, hidden]);
    let (mut qkv, mut out) = (qkv, out);
    let mut tasks = Vec::with_capacity(lengths.len());
    for sequence in batch.sequences() {
        let rows = sequence.length;
        tasks.push(Inference {
            sequence,
            qkv: qkv.split_off(..rows * 3 * hidden).unwrap_or_default(),
            out: out.split_off_mut(..rows * hidden).unwrap_or_default(),
        });
    }
    threads::for_each(tasks.into_iter(), |task| {
        let mut buffer = BUFFER.take();
        task.run(&mut buffer);
        BUFFER.set(buffer);
    });
}

/// Computes the output of one sequence without dropout on the calling thread: `qkv` [n, 3H] → `out` [n, H].
///
/// # Panics
///
/// If lengths do not match.
pub fn forward_one(qkv: &[f32], heads: Heads, out: &mut [f32]) {
    let length = out.len() / heads.hidden();
    assert_eq!(qkv.len(), 3 * length * heads.hidden(), "entries of queries, keys and values of {length} rows");
    let mut softmax = vec![Softmax::default(); length * heads.count];
    let sequence = Sequence { heads, length, dropout: None };
    Forward { sequence, qkv, out, softmax: &mut softmax }.run(&mut Scratch::default());
}

#[cfg(test)]
mod tests;
