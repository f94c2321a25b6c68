//! Attentive pooling: h = Σ_t a_t x_t with a = softmax(e·q), over the rows x_t of each segment (Yang et al. 2016, equations
//! 5–7).
//!
//! [`crate::gemm`] computes the preceding dense layer e = tanh(x Wᵀ + b). Each segment is handled separately, so there are no
//! zero weights for other segments and no products with them.

use pulp::{Simd, WithSimd};

use crate::simd::{self, ALIGN, dispatch, sum_product};
use crate::threads;

/// Segments per parallel piece. The number is fixed, so sums over segments do not depend on the number of threads.
const PIECE: usize = 8;
/// Rows per parallel piece.
const ROWS: usize = 64;
/// Entries per parallel piece of [`tanh`].
const ENTRIES: usize = 1 << 12;

/// Replaces each entry u of the dense layer's result by tanh u, with an error below 3·10⁻⁷, on all threads.
///
/// ```
/// let mut hidden = [0.0, 1.0];
/// nb_kernels::pooling::tanh(&mut hidden);
/// assert!((hidden[1] - 0.761_594).abs() < 1e-6);
/// ```
pub fn tanh(hidden: &mut [f32]) {
    threads::for_each(hidden.chunks_mut(ENTRIES), |hidden| dispatch(Tanh(hidden)));
}

struct Tanh<'a>(&'a mut [f32]);

impl WithSimd for Tanh<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (blocks, rest) = self.0.as_chunks_mut::<ALIGN>();
        let mut last = [0.0; ALIGN];
        last[..rest.len()].copy_from_slice(rest);
        for block in blocks.iter_mut().chain([&mut last]) {
            for x in S::as_mut_simd_f32s(block).0 {
                *x = simd::tanh(simd, *x);
            }
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Writes e·q of each row to `scores` \[n\], for `hidden` e [n, Q] and `query` q \[Q\]; on all threads.
///
/// # Panics
///
/// If lengths do not match.
pub fn scores(hidden: &[f32], query: &[f32], scores: &mut [f32]) {
    assert_eq!(hidden.len(), scores.len() * query.len(), "entries of the rows of {} units", query.len());
    let pieces = hidden.chunks(ROWS * query.len()).zip(scores.chunks_mut(ROWS));
    threads::for_each(pieces, |(hidden, scores)| {
        dispatch(|| {
            let rows = hidden.chunks_exact(query.len());
            scores.iter_mut().zip(rows).for_each(|(score, row)| *score = sum_product(row, query));
        });
    });
}

/// Vectors of a table, each with its score e·q: the same vectors in any number of segments, as in the histories of readers.
///
/// ```
/// use nb_kernels::pooling::Table;
/// let table = Table { vectors: &[1.0, 3.0, 7.0], scores: &[0.0, 0.0, 5.0], hidden: 1 };
/// let mut out = [0.0];
/// table.pool(&[0, 1], &mut out);
/// assert_eq!(out, [2.0]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// x [n, H].
    pub vectors: &'a [f32],
    /// e·q \[n\]; equal scores give the mean.
    pub scores: &'a [f32],
    /// H.
    pub hidden: usize,
}

impl Table<'_> {
    /// Writes h = Σ_i a_i x_i over some rows, which may repeat, to `out` \[H\], on the caller's thread. Without rows, h is zero.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn pool(&self, rows: &[u32], out: &mut [f32]) {
        out.fill(0.0);
        let score = |row: &u32| self.scores[*row as usize];
        let largest = rows.iter().map(score).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for row in rows {
            let weight = (score(row) - largest).exp();
            sum += weight;
            let vector = &self.vectors[*row as usize * self.hidden..][..self.hidden];
            out.iter_mut().zip(vector).for_each(|(out, x)| *out += weight * x);
        }
        if !rows.is_empty() {
            out.iter_mut().for_each(|out| *out /= sum);
        }
    }
}

/// Inputs and outputs of the weighted sums over R segments of n rows in total.
///
/// ```
/// use nb_kernels::pooling::Forward;
/// let (mut weights, mut out) = ([0.0; 3], [0.0; 2]);
/// // Two segments of two rows and one row of one unit each.
/// let forward =
///     Forward { lengths: &[2, 1], scores: &[0.0, 0.0, 5.0], x: &[1.0, 3.0, 7.0], weights: &mut weights, out: &mut out };
/// forward.run();
/// assert_eq!((weights, out), ([0.5, 0.5, 1.0], [2.0, 7.0]));
/// ```
#[derive(Debug)]
pub struct Forward<'a> {
    /// Rows of each segment.
    pub lengths: &'a [usize],
    /// e·q \[n\].
    pub scores: &'a [f32],
    /// x [n, H].
    pub x: &'a [f32],
    /// a \[n\], for the backward pass.
    pub weights: &'a mut [f32],
    /// h [R, H].
    pub out: &'a mut [f32],
}

impl Forward<'_> {
    /// Computes weights and weighted sums, on all threads.
    ///
    /// # Panics
    ///
    /// If lengths do not match.
    pub fn run(self) {
        let h = self.out.len() / self.lengths.len().max(1);
        let rows: usize = self.lengths.iter().sum();
        assert_eq!(self.out.len(), self.lengths.len() * h, "entries of the vectors of {} segments", self.lengths.len());
        let found = [self.scores.len(), self.weights.len(), self.x.len()];
        assert_eq!(found, [rows, rows, rows * h], "entries of the slices of {rows} rows");
        let (mut scores, mut x, mut weights) = (self.scores, self.x, self.weights);
        let mut segments = Vec::with_capacity(self.lengths.len());
        for (&length, out) in self.lengths.iter().zip(self.out.chunks_exact_mut(h)) {
            segments.push(ForwardSegment {
                scores: scores.split_off(..length).unwrap_or_default(),
                x: x.split_off(..length * h).unwrap_or_default(),
                weights: weights.split_off_mut(..length).unwrap_or_default(),
                out,
            });
        }
        threads::for_each(segments.chunks_mut(PIECE), |segments| {
            dispatch(|| segments.iter_mut().for_each(ForwardSegment::run));
        });
    }
}

/// One segment of [`Forward`].
struct ForwardSegment<'a> {
    scores: &'a [f32],
    x: &'a [f32],
    weights: &'a mut [f32],
    /// \[H\]
    out: &'a mut [f32],
}

impl ForwardSegment<'_> {
    #[inline(always)]
    fn run(&mut self) {
        let Self { scores, x, weights, out } = self;
        out.fill(0.0);
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.iter_mut().zip(*scores).for_each(|(weight, score)| *weight = (score - largest).exp());
        let sum: f32 = weights.iter().sum();
        for (weight, x) in weights.iter_mut().zip(x.chunks_exact(out.len())) {
            *weight /= sum;
            out.iter_mut().zip(x).for_each(|(out, x)| *out += *weight * x);
        }
    }
}

/// Inputs and outputs of the backward pass over R segments of n rows in total.
///
/// With g = dL/dh of a segment, dL/da_t = g·x_t. So dL/ds_t = a_t (g·x_t − Σ a g·x) for the score s_t, and the direct path from
/// h to x_t contributes a_t g.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Rows of each segment.
    pub lengths: &'a [usize],
    /// dL/dh [R, H].
    pub grad: &'a [f32],
    /// x [n, H].
    pub x: &'a [f32],
    /// e = tanh(u) [n, Q].
    pub hidden: &'a [f32],
    /// a \[n\].
    pub weights: &'a [f32],
    /// q \[Q\].
    pub query: &'a [f32],
    /// dL/dx [n, H] along the direct path. The caller adds the path through the dense layer.
    pub x_grad: &'a mut [f32],
    /// dL/du [n, Q].
    pub before_grad: &'a mut [f32],
    /// dL/dq \[Q\]; the pass adds to it.
    pub query_grad: &'a mut [f32],
}

impl Backward<'_> {
    /// Computes the three gradients, on all threads.
    ///
    /// # Panics
    ///
    /// If lengths do not match.
    pub fn run(self) {
        self.check();
        let (h, q) = (self.grad.len() / self.lengths.len().max(1), self.query.len());
        let (mut x, mut hidden, mut weights) = (self.x, self.hidden, self.weights);
        let (mut x_grad, mut before_grad) = (self.x_grad, self.before_grad);
        let mut segments = Vec::with_capacity(self.lengths.len());
        for (&length, grad) in self.lengths.iter().zip(self.grad.chunks_exact(h)) {
            segments.push(BackwardSegment {
                grad,
                query: self.query,
                x: x.split_off(..length * h).unwrap_or_default(),
                hidden: hidden.split_off(..length * q).unwrap_or_default(),
                weights: weights.split_off(..length).unwrap_or_default(),
                x_grad: x_grad.split_off_mut(..length * h).unwrap_or_default(),
                before_grad: before_grad.split_off_mut(..length * q).unwrap_or_default(),
            });
        }
        let mut sums = vec![0.0; segments.len().div_ceil(PIECE) * q];
        threads::for_each(segments.chunks_mut(PIECE).zip(sums.chunks_exact_mut(q)), |(segments, sums)| {
            dispatch(|| segments.iter_mut().for_each(|segment| segment.run(sums)));
        });
        for sums in sums.chunks_exact(q) {
            self.query_grad.iter_mut().zip(sums).for_each(|(sum, part)| *sum += part);
        }
    }

    fn check(&self) {
        let rows: usize = self.lengths.iter().sum();
        let (h, q) = (self.grad.len() / self.lengths.len().max(1), self.query.len());
        assert_eq!(
            self.grad.len(),
            self.lengths.len() * h,
            "entries of the gradient of {} segments",
            self.lengths.len()
        );
        let found = [self.x.len(), self.x_grad.len(), self.hidden.len(), self.before_grad.len(), self.weights.len()];
        let expected = [h, h, q, q, 1].map(|width| width * rows);
        assert_eq!(found, expected, "entries of the slices of {rows} rows");
        assert_eq!(self.query_grad.len(), q, "entries of the query's gradient");
    }
}

/// One segment of [`Backward`].
struct BackwardSegment<'a> {
    /// \[H\]
    grad: &'a [f32],
    /// \[Q\]
    query: &'a [f32],
    /// [t, H]
    x: &'a [f32],
    /// [t, Q]
    hidden: &'a [f32],
    /// \[t\]
    weights: &'a [f32],
    x_grad: &'a mut [f32],
    before_grad: &'a mut [f32],
}

impl BackwardSegment<'_> {
    /// Adds dL/dq to `query_grad`.
    #[inline(always)]
    fn run(&mut self, query_grad: &mut [f32]) {
        let (h, q) = (self.grad.len(), self.query.len());
        let mut scores: Vec<f32> = self.x.chunks_exact(h).map(|x| sum_product(self.grad, x)).collect();
        let mean = sum_product(self.weights, &scores);
        scores.iter_mut().zip(self.weights).for_each(|(score, weight)| *score = weight * (*score - mean));
        for (x_grad, weight) in self.x_grad.chunks_exact_mut(h).zip(self.weights) {
            x_grad.iter_mut().zip(self.grad).for_each(|(x_grad, grad)| *x_grad = weight * grad);
        }
        for (t, score) in scores.into_iter().enumerate() {
            let row = t * q..(t + 1) * q;
            let (hidden, before) = (&self.hidden[row.clone()], &mut self.before_grad[row]);
            let query = &self.query[..q];
            query_grad.iter_mut().zip(hidden).for_each(|(sum, hidden)| *sum += score * hidden);
            for i in 0..q {
                before[i] = score * query[i] * (1.0 - hidden[i] * hidden[i]); // tanh′ = 1 − tanh²
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nb_testing::wave;

    use super::*;

    const H: usize = 5;
    const Q: usize = 3;

    /// Σ of `factors`·h by the definition in f64, from x, u (with e = tanh(u)) and q.
    fn reference(lengths: &[usize], x: &[f64], before: &[f64], query: &[f64], factors: &[f32]) -> f64 {
        let (mut start, mut loss) = (0, 0.0);
        for (segment, &length) in lengths.iter().enumerate() {
            let score = |t: usize| -> f64 { (0..Q).map(|i| before[t * Q + i].tanh() * query[i]).sum() };
            let weights: Vec<f64> = (start..start + length).map(|t| score(t).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (t, weight) in (start..).zip(weights) {
                let dot: f64 = (0..H).map(|i| x[t * H + i] * f64::from(factors[segment * H + i])).sum();
                loss += weight / sum * dot;
            }
            start += length;
        }
        loss
    }

    /// Comparison with central differences of the definition.
    #[test]
    fn tanh_matches_the_definition() {
        let xs: Vec<f32> = (0..10_003).map(|i| (i as f32 - 5_000.0) / 300.0).chain([-200.0, 200.0, 0.0]).collect();
        let mut found = xs.clone();
        tanh(&mut found);
        for (x, found) in xs.into_iter().zip(found) {
            assert!((f64::from(found) - f64::from(x).tanh()).abs() < 3e-7, "tanh {x}: {found}");
        }
        let mut nan = [f32::NAN];
        tanh(&mut nan);
        assert!(nan[0].is_nan());
    }

    #[test]
    fn vectors_and_gradients_match_the_definition() {
        let lengths = [5, 1, 9, 2, 2, 2, 2, 2, 2, 17];
        let n: usize = lengths.iter().sum();
        let (x, before, query) = (wave(n * H, 0.0), wave(n * Q, 1.0), wave(Q, 2.0));
        let factors = wave(lengths.len() * H, 3.0);
        let hidden: Vec<f32> = before.iter().map(|u| u.tanh()).collect();

        let (mut all_scores, mut weights, mut out) =
            (vec![f32::NAN; n], vec![f32::NAN; n], vec![f32::NAN; factors.len()]);
        scores(&hidden, &query, &mut all_scores);
        Forward { lengths: &lengths, scores: &all_scores, x: &x, weights: &mut weights, out: &mut out }.run();
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
        let inputs = [wide(&x), wide(&before), wide(&query)];
        let loss = |[x, before, query]: &[Vec<f64>; 3]| reference(&lengths, x, before, query, &factors);
        let found: f64 = out.iter().zip(&factors).map(|(h, g)| f64::from(*h) * f64::from(*g)).sum();
        assert!((found - loss(&inputs)).abs() < 1e-5 * (1.0 + found.abs()), "{found}");

        let (mut x_grad, mut before_grad, mut query_grad) =
            (vec![f32::NAN; n * H], vec![f32::NAN; n * Q], vec![0.0; Q]);
        Backward {
            lengths: &lengths,
            grad: &factors,
            x: &x,
            hidden: &hidden,
            weights: &weights,
            query: &query,
            x_grad: &mut x_grad,
            before_grad: &mut before_grad,
            query_grad: &mut query_grad,
        }
        .run();
        for (input, found) in [x_grad, before_grad, query_grad].into_iter().enumerate() {
            for (i, found) in found.into_iter().enumerate() {
                let shifted = |step: f64| {
                    let mut inputs = inputs.clone();
                    inputs[input][i] += step;
                    loss(&inputs)
                };
                let slope = (shifted(1e-4) - shifted(-1e-4)) / 2e-4;
                assert!((f64::from(found) - slope).abs() < 2e-5, "input {input}, entry {i}: {found}, expected {slope}");
            }
        }
    }

    #[test]
    fn a_nan_score_affects_only_its_segment() {
        let (mut weights, mut out) = ([0.0; 3], [0.0; 4]);
        let scores = [0.0, f32::NAN, 1.0];
        Forward { lengths: &[2, 1], scores: &scores, x: &[1.0; 6], weights: &mut weights, out: &mut out }.run();
        assert!(out[..2].iter().all(|value| value.is_nan()) && out[2..] == [1.0, 1.0]);
    }
}
