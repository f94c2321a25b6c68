//! Attention on the CPU: one head of one sequence at a time, from queries, keys and values to the output.
//!
//! News are short: scores of 64 tokens are 16 KiB, so nothing leaves the first caches, no row is padding, and no score is
//! kept. The backward pass computes the weights once more from each row's largest score and sum, much as FlashAttention does
//! (Dao et al. 2022). All sums are f32, whatever the precision of what comes in.

use pulp::{Simd, WithSimd};
use tch::{Device, Kind, Tensor};

use super::Dropout;
use super::softmax::{Softmax, softmax_backward};
use crate::host::{Element, with_slices};
use crate::kernel::simd::{self, ALIGN, Left, SQUARE, dispatch, product};
use crate::pool;
use half::bf16;

/// What the backward pass needs.
#[derive(Debug)]
pub(crate) struct Tape {
    /// [n, 3H]
    qkv: Tensor,
    /// Sequence by sequence [heads, length].
    softmax: Vec<Softmax>,
}

/// Heads, and entries of a head.
#[derive(Debug, Clone, Copy)]
struct Heads {
    count: usize,
    size: usize,
}

impl Heads {
    fn of(hidden: i64, count: i64) -> Self {
        Self { count: count as usize, size: (hidden / count) as usize }
    }

    fn hidden(self) -> usize {
        self.count * self.size
    }

    /// Entries of a row of a head in [`Scratch`].
    fn width(self) -> usize {
        self.size.next_multiple_of(ALIGN)
    }

    /// 1/√D
    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

pub(super) fn forward(qkv: &Tensor, lengths: &[i64], heads: i64, dropout: Option<Dropout>) -> (Tensor, Tape) {
    let (n, all) = qkv.size2().unwrap_or_else(|e| panic!("attention takes [n, 3H]: {e}"));
    let qkv = qkv.contiguous();
    let mut out = Tensor::empty([n, all / 3], (qkv.kind(), Device::Cpu));
    let mut softmax = vec![Softmax::default(); n as usize * heads as usize];
    let heads = Heads::of(all / 3, heads);
    match qkv.kind() {
        Kind::BFloat16 => forward_of::<bf16>(&qkv, &mut out, &mut softmax, (lengths, heads), dropout),
        _ => forward_of::<f32>(&qkv, &mut out, &mut softmax, (lengths, heads), dropout),
    }
    (out, Tape { qkv, softmax })
}

/// One sequence without dropout, on this thread: `qkv` [n, 3H] → `out` [n, H].
pub(crate) fn forward_one(qkv: &[f32], out: &mut [f32], (hidden, heads): (usize, usize)) {
    let heads = Heads { count: heads, size: hidden / heads };
    let length = out.len() / hidden;
    let mut softmax = vec![Softmax::default(); length * heads.count];
    let sequence = Sequence { heads, length, dropout: None };
    dispatch(On(Forward { sequence, qkv, out, softmax: &mut softmax }, &mut Scratch::default()));
}

pub(super) fn backward(grad: &Tensor, lengths: &[i64], heads: i64, dropout: Option<Dropout>, tape: &Tape) -> Tensor {
    let heads = Heads::of(grad.size()[1], heads);
    let grad = grad.contiguous();
    let mut out = tape.qkv.empty_like();
    match tape.qkv.kind() {
        Kind::BFloat16 => backward_of::<bf16>(&grad, tape, &mut out, (lengths, heads), dropout),
        _ => backward_of::<f32>(&grad, tape, &mut out, (lengths, heads), dropout),
    }
    out
}

fn forward_of<T: Element>(
    qkv: &Tensor,
    out: &mut Tensor,
    mut softmax: &mut [Softmax],
    (lengths, heads): (&[i64], Heads),
    dropout: Option<Dropout>,
) {
    let hidden = heads.hidden();
    with_slices::<T, 1, 1, _>([qkv], [out], |[mut qkv], [mut out]| {
        let mut tasks = Vec::with_capacity(lengths.len());
        for (sequence, &length) in lengths.iter().enumerate() {
            let length = length as usize;
            let dropout = dropout.map(|dropout| dropout.part(sequence));
            let qkv = qkv.split_off(..length * 3 * hidden).unwrap_or_default();
            let out = out.split_off_mut(..length * hidden).unwrap_or_default();
            let softmax = softmax.split_off_mut(..length * heads.count).unwrap_or_default();
            tasks.push(Forward { sequence: Sequence { heads, length, dropout }, qkv, out, softmax });
        }
        pool::for_each_with(tasks.into_iter(), Scratch::default, |scratch, task| dispatch(On(task, scratch)));
    });
}

fn backward_of<T: Element>(
    grad: &Tensor,
    tape: &Tape,
    out: &mut Tensor,
    (lengths, heads): (&[i64], Heads),
    dropout: Option<Dropout>,
) {
    let hidden = heads.hidden();
    let mut softmax = tape.softmax.as_slice();
    with_slices::<T, 2, 1, _>([grad, &tape.qkv], [out], |[mut grad, mut qkv], [mut out]| {
        let mut tasks = Vec::with_capacity(lengths.len());
        for (sequence, &length) in lengths.iter().enumerate() {
            let length = length as usize;
            let dropout = dropout.map(|dropout| dropout.part(sequence));
            let grad = grad.split_off(..length * hidden).unwrap_or_default();
            let qkv = qkv.split_off(..length * 3 * hidden).unwrap_or_default();
            let out = out.split_off_mut(..length * 3 * hidden).unwrap_or_default();
            let softmax = softmax.split_off(..length * heads.count).unwrap_or_default();
            tasks.push(Backward { sequence: Sequence { heads, length, dropout }, grad, qkv, softmax, out });
        }
        pool::for_each_with(tasks.into_iter(), Scratch::default, |scratch, task| dispatch(On(task, scratch)));
    });
}

/// One sequence of the batch, and the dropout of its weights.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    heads: Heads,
    length: usize,
    dropout: Option<Dropout>,
}

impl Sequence {
    /// Entries of a row of scores in [`Scratch`].
    fn keys(self) -> usize {
        self.length.next_multiple_of(ALIGN)
    }

    /// A row of 1 for each key and 0 beyond.
    fn mark_keys(self, present: &mut Vec<f32>) {
        let (own, beyond) = sized(present, self.keys()).split_at_mut(self.length);
        own.fill(1.0);
        beyond.fill(0.0);
    }

    /// Where a head's part of a row of `parts` times all heads lies, e.g. its keys among queries, keys and values.
    fn place(self, head: usize, (part, parts): (usize, usize)) -> Place {
        let hidden = self.heads.hidden();
        let offset = part * hidden + head * self.heads.size;
        Place { stride: parts * hidden, offset, size: self.heads.size, width: self.heads.width() }
    }
}

struct Forward<'a, T> {
    sequence: Sequence,
    /// [length, 3H]
    qkv: &'a [T],
    /// [length, H]
    out: &'a mut [T],
    /// [heads, length]
    softmax: &'a mut [Softmax],
}

struct Backward<'a, T> {
    sequence: Sequence,
    /// [length, H]
    grad: &'a [T],
    /// [length, 3H]
    qkv: &'a [T],
    /// [heads, length]
    softmax: &'a [Softmax],
    /// [length, 3H]
    out: &'a mut [T],
}

/// The matrices of one head. Rows of queries, keys, values and what is like them are D wide, rounded up; rows of scores as
/// long as the sequence, rounded up.
#[derive(Debug, Default)]
struct Scratch {
    /// Q/√D
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// dL/d(output)
    grad: Vec<f32>,
    /// Kᵀ, or Vᵀ
    across: Vec<f32>,
    weights: Vec<f32>,
    /// 1 for each key of the sequence, 0 for what a row of scores has beyond them.
    present: Vec<f32>,
    /// The weights after dropout.
    dropped: Vec<f32>,
    mask: Vec<f32>,
    /// dL/d(weights), then dL/d(scores)
    scores_grad: Vec<f32>,
    out: Vec<f32>,
}

/// A task, and what it works in.
struct On<'a, T>(T, &'a mut Scratch);

impl<T: Element> WithSimd for On<'_, Forward<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let On(task, scratch) = self;
        let sequence = task.sequence;
        let (l, d, keys) = (sequence.length, sequence.heads.width(), sequence.keys());
        sequence.mark_keys(&mut scratch.present);
        for (head, softmax) in task.softmax.chunks_exact_mut(l).enumerate() {
            sequence.place(head, (0, 3)).read(task.qkv, sequence.heads.scale(), &mut scratch.query);
            sequence.place(head, (1, 3)).read(task.qkv, 1.0, &mut scratch.key);
            sequence.place(head, (2, 3)).read(task.qkv, 1.0, &mut scratch.value);
            (0..3).for_each(|part| sequence.place(head, (part, 3)).fetch_next(task.qkv));
            transposed(&scratch.key[..keys * d], (d, keys), &mut scratch.across);
            let weights = sized(&mut scratch.weights, l * keys);
            product(simd, Left::Rows(&scratch.query, d), &scratch.across, (l, d, keys), weights);
            for (row, softmax) in weights.chunks_exact_mut(keys).zip(softmax) {
                *softmax = Softmax::of(simd, row, &scratch.present);
            }
            if let Some(dropout) = sequence.dropout {
                let mask = sized(&mut scratch.mask, l * keys);
                dropout.part(head).mask(mask);
                weights.iter_mut().zip(mask).for_each(|(w, m)| *w *= *m);
            }
            let out = sized(&mut scratch.out, l * d);
            product(simd, Left::Rows(weights, keys), &scratch.value, (l, l, d), out);
            sequence.place(head, (0, 1)).write(out, 1.0, task.out);
        }
    }
}

impl<T: Element> WithSimd for On<'_, Backward<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let On(task, scratch) = self;
        let sequence = task.sequence;
        let (l, d, keys) = (sequence.length, sequence.heads.width(), sequence.keys());
        let scale = sequence.heads.scale();
        sequence.mark_keys(&mut scratch.present);
        for (head, softmax) in task.softmax.chunks_exact(l).enumerate() {
            let place = |part| sequence.place(head, (part, 3));
            place(0).read(task.qkv, scale, &mut scratch.query);
            place(1).read(task.qkv, 1.0, &mut scratch.key);
            sequence.place(head, (0, 1)).read(task.grad, 1.0, &mut scratch.grad);
            (0..3).for_each(|part| place(part).fetch_next(task.qkv));
            sequence.place(head, (0, 1)).fetch_next(task.grad);

            // The weights once more.
            transposed(&scratch.key[..keys * d], (d, keys), &mut scratch.across);
            let weights = sized(&mut scratch.weights, l * keys);
            product(simd, Left::Rows(&scratch.query, d), &scratch.across, (l, d, keys), weights);
            for (row, softmax) in weights.chunks_exact_mut(keys).zip(softmax) {
                softmax.again(simd, row, &scratch.present);
            }

            place(2).read(task.qkv, 1.0, &mut scratch.value);
            transposed(&scratch.value[..keys * d], (d, keys), &mut scratch.across);
            let scores_grad = sized(&mut scratch.scores_grad, l * keys);
            product(simd, Left::Rows(&scratch.grad, d), &scratch.across, (l, d, keys), scores_grad);
            let dropped = sized(&mut scratch.dropped, l * keys);
            dropped.copy_from_slice(weights);
            if let Some(dropout) = sequence.dropout {
                let mask = sized(&mut scratch.mask, l * keys);
                dropout.part(head).mask(mask);
                dropped.iter_mut().zip(&*mask).for_each(|(w, m)| *w *= *m);
                scores_grad.iter_mut().zip(&*mask).for_each(|(g, m)| *g *= *m);
            }
            let out = sized(&mut scratch.out, l * d);
            product(simd, Left::Columns(dropped, keys), &scratch.grad, (l, l, d), out);
            place(2).write(out, 1.0, task.out);

            for (grad, weights) in scores_grad.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
                softmax_backward(simd, grad, weights);
            }
            product(simd, Left::Rows(scores_grad, keys), &scratch.key, (l, l, d), out);
            place(0).write(out, scale, task.out);
            product(simd, Left::Columns(scores_grad, keys), &scratch.query, (l, l, d), out);
            place(1).write(out, 1.0, task.out); // the queries are scaled already
        }
    }
}

/// Where the rows of one head lie among rows of all heads.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Entries of a row, and the first one of the head.
    stride: usize,
    offset: usize,
    /// D, and D rounded up.
    size: usize,
    width: usize,
}

impl Place {
    /// `out` [length rounded up, width] = `rows`·`scale`, 0 beyond the sequence, for who transposes it, and beyond D.
    #[inline(always)]
    fn read<T: Element>(self, rows: &[T], scale: f32, out: &mut Vec<f32>) {
        let length = rows.len() / self.stride;
        let out = sized(out, length.next_multiple_of(ALIGN) * self.width);
        let (there, beyond) = out.split_at_mut(length * self.width);
        beyond.fill(0.0);
        for (row, out) in rows.chunks_exact(self.stride).zip(there.chunks_exact_mut(self.width)) {
            let (own, rest) = out.split_at_mut(self.size);
            own.iter_mut().zip(&row[self.offset..]).for_each(|(o, v)| *o = v.to_f32() * scale);
            rest.fill(0.0);
        }
    }

    /// Has what follows in each row, the next head, come to the caches: its parts are as far apart as all heads are wide, which
    /// processors do not foresee.
    #[inline(always)]
    fn fetch_next<T: Element>(self, rows: &[T]) {
        let next = self.offset + self.size;
        for row in rows.chunks_exact(self.stride) {
            simd::fetch(&row[next.min(row.len())..row.len().min(next + self.size)]);
        }
    }

    /// `rows` = `from` [length, width]·`scale`.
    #[inline(always)]
    fn write<T: Element>(self, from: &[f32], scale: f32, rows: &mut [T]) {
        for (row, from) in rows.chunks_exact_mut(self.stride).zip(from.chunks_exact(self.width)) {
            let own = &mut row[self.offset..self.offset + self.size];
            own.iter_mut().zip(from).for_each(|(o, v)| *o = T::from_f32(*v * scale));
        }
    }
}

/// `out` [width, keys], the transpose of `rows` [keys, width].
#[inline(always)]
fn transposed(rows: &[f32], (width, keys): (usize, usize), out: &mut Vec<f32>) {
    const { assert!(ALIGN.is_multiple_of(SQUARE), "rows are whole squares") };
    let out = sized(out, width * keys);
    for (block, rows) in rows.chunks_exact(SQUARE * width).enumerate() {
        for (square, out) in out.chunks_exact_mut(SQUARE * keys).enumerate() {
            simd::transpose(&rows[square * SQUARE..], width, &mut out[block * SQUARE..], keys);
        }
    }
}

/// The first `len` entries of a buffer that grows to hold them; what they are is undefined, so they are to be written.
#[inline(always)]
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packed;
    use crate::encoder::Capture;
    use crate::kernel::attention::plain;

    fn packed(lengths: &[i64]) -> Packed {
        let n: i64 = lengths.iter().sum();
        Packed::new(&vec![0; n as usize], &vec![0; n as usize], lengths, Device::Cpu)
    }

    /// Lengths on both sides of a row's alignment, heads that do not fill a register and heads that do.
    #[test]
    fn it_is_the_plain_form_with_its_gradient() {
        tch::manual_seed(6);
        for (lengths, heads, size) in
            [(vec![33, 32, 17, 16, 3, 1], 2, 4), (vec![9, 2], 3, 32), (vec![1], 1, 16), (vec![64, 40], 2, 24)]
        {
            let n = lengths.iter().sum::<i64>();
            let random = |width| Tensor::randn([n, width], (Kind::Float, Device::Cpu));
            let (qkv, grad, packed) = (random(3 * heads * size), random(heads * size), packed(&lengths));
            let (expected, tape) = plain::forward(&qkv, &packed, heads, |_| None, Capture::Last);
            let expected_grad = plain::backward((&grad, None), &packed, heads, |_| None, &tape);
            let (found, tape) = forward(&qkv, &lengths, heads, None);
            let found_grad = backward(&grad, &lengths, heads, None, &tape);
            for (found, expected) in [(found, expected), (found_grad, expected_grad)] {
                let error = (&found - &expected).abs().max().double_value(&[]);
                assert!(error < 3e-6 * expected.abs().max().double_value(&[]), "{lengths:?}: {error}");
            }
        }
    }

    #[test]
    fn bf16_differs_from_f32_by_its_rounding() {
        tch::manual_seed(7);
        let lengths = [20, 11, 5];
        let qkv = Tensor::randn([36, 96], (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        let grad = Tensor::randn([36, 32], (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        let run = |kind| {
            let (out, tape) = forward(&qkv.to_kind(kind), &lengths, 2, None);
            let back = backward(&grad.to_kind(kind), &lengths, 2, None, &tape);
            (out, back)
        };
        let (exact, rounded) = (run(Kind::Float), run(Kind::BFloat16));
        for (exact, rounded) in [(exact.0, rounded.0), (exact.1, rounded.1)] {
            assert_eq!(rounded.kind(), Kind::BFloat16);
            // One rounding of the result: half a unit of the eighth binary digit.
            let error = (rounded.to_kind(Kind::Float) - &exact).abs() / (exact.abs() + 1e-6);
            assert!(error.max().double_value(&[]) < 1.0 / 256.0);
        }
    }

    /// With a fixed key dropout is a fixed linear map of the weights, so central differences see it too.
    #[test]
    fn the_gradient_with_dropout_is_the_slope() {
        tch::manual_seed(4);
        let lengths = [18, 3];
        let random = |width| Tensor::randn([21, width], (Kind::Float, Device::Cpu));
        let (qkv, grad, direction) = (random(48), random(16), random(48));
        let dropout = Dropout::new(0.4, Some(9));
        let value = |qkv: &Tensor| (forward(qkv, &lengths, 2, dropout).0 * &grad).sum(Kind::Double).double_value(&[]);
        let (_, tape) = forward(&qkv, &lengths, 2, dropout);
        let found = (backward(&grad, &lengths, 2, dropout, &tape) * &direction).sum(Kind::Double).double_value(&[]);
        let step = 1e-2;
        let slope = (value(&(&qkv + &direction * step)) - value(&(&qkv - &direction * step))) / (2.0 * step);
        assert!((found - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{found} against {slope}");
    }

    /// Each sequence and each head drops weights of its own: with all values 1 and no dropout every output is 1.
    #[test]
    fn sequences_and_heads_drop_different_weights() {
        let qkv = Tensor::ones([32, 24], (Kind::Float, Device::Cpu));
        let (out, _) = forward(&qkv, &[16, 16], 2, Dropout::new(0.5, Some(1)));
        let part = |row, column| out.narrow(0, row, 16).narrow(1, column, 1);
        let parts = [part(0, 0), part(0, 4), part(16, 0), part(16, 4)];
        for (i, one) in parts.iter().enumerate() {
            assert!((one.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.3);
            assert!(parts[..i].iter().all(|other| !one.equal(other)));
        }
    }
}
