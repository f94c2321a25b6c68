//! Attentive pooling on the CPU, forward and backward: each run on its own, so that no weight is 0 and no product with it is
//! computed, and dense layers by the encoder's kernels.

use nb_torch::with_backward;
use pulp::Arch;
use tch::{Device, Kind, Tensor};

use crate::host::with_slices;
use crate::kernel::linear::{self, Linear};
use crate::kernel::simd::sum_product;
use crate::pool;

/// Runs per parallel piece. Fixed, so that sums over runs do not depend on the number of threads.
const PIECE: usize = 8;
/// Rows per parallel piece.
const ROWS: usize = 64;

/// Whether pooling of `states` [n, H] belongs here.
pub(super) fn pays(states: &Tensor) -> bool {
    states.kind() == Kind::Float && states.device() == Device::Cpu
}

/// One vector per run, [R, H], from `states` [n, H], with weight [Q, H], bias \[Q\] and query [1, Q]; a function of all four for
/// autograd.
pub(super) fn pooled(states: &Tensor, parameters: [&Tensor; 3], lengths: &[i64]) -> Tensor {
    let [weight, bias, query] = parameters;
    // What the graph holds is no part of it, or it would hold itself.
    let plain = [states, weight, bias, query].map(|tensor| tensor.detach().contiguous());
    let [x, weight, bias, query] = plain;
    let (hidden, scores) = scores(&x, &[&weight, &bias, &query]);
    let (out, weights) = weighted_sums(&scores, &x, lengths);
    let tape = Tape { x, weight, bias, query, hidden, weights, lengths: lengths.to_vec() };
    let inputs = [states, parameters[0], parameters[1], parameters[2]];
    with_backward(&out, &inputs, move |grad| tape.backward(&grad))
        .unwrap_or_else(|e| panic!("a node of autograd's graph: {e}"))
}

/// e = tanh(x Wᵀ + b), [n, Q], and e·q, \[n\].
pub(super) fn scores(states: &Tensor, [weight, bias, query]: &[&Tensor; 3]) -> (Tensor, Tensor) {
    let hidden = tch::no_grad(|| linear::forward(states, weight, bias).tanh_());
    let mut scores = Tensor::empty([states.size()[0]], (Kind::Float, Device::Cpu));
    with_slices([&hidden, query], [&mut scores], |[hidden, query], [scores]| {
        let pieces = hidden.chunks(ROWS * query.len()).zip(scores.chunks_mut(ROWS));
        pool::for_each(pieces, |(hidden, scores)| {
            Arch::new().dispatch(|| {
                let rows = hidden.chunks_exact(query.len());
                scores.iter_mut().zip(rows).for_each(|(score, row)| *score = sum_product(row, query));
            });
        });
    });
    (hidden, scores)
}

/// Σ_t a_t · state_t over each run, [R, H], and all weights a = softmax(scores), \[n\].
fn weighted_sums(scores: &Tensor, states: &Tensor, lengths: &[i64]) -> (Tensor, Tensor) {
    let hidden = states.size()[1] as usize;
    let mut out = Tensor::zeros([lengths.len() as i64, hidden as i64], (Kind::Float, Device::Cpu));
    let mut weights = Tensor::empty([states.size()[0]], (Kind::Float, Device::Cpu));
    with_slices([scores, states], [&mut out, &mut weights], |[mut scores, mut states], [out, mut weights]| {
        let runs = lengths.iter().zip(out.chunks_exact_mut(hidden)).map(|(&length, out)| {
            let length = length as usize;
            let states = states.split_off(..length * hidden).unwrap_or_default();
            let weights = weights.split_off_mut(..length).unwrap_or_default();
            (scores.split_off(..length).unwrap_or_default(), weights, states, out)
        });
        let mut runs: Vec<_> = runs.collect();
        pool::for_each(runs.chunks_mut(PIECE), |runs| {
            Arch::new().dispatch(|| {
                runs.iter_mut().for_each(|(scores, weights, states, out)| sum_run(scores, weights, states, out));
            });
        });
    });
    (out, weights)
}

/// One run; `out` \[H\] is 0 before.
#[inline(always)]
fn sum_run(scores: &[f32], weights: &mut [f32], states: &[f32], out: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    weights.iter_mut().zip(scores).for_each(|(weight, score)| *weight = (score - largest).exp());
    let sum: f32 = weights.iter().sum();
    for (weight, state) in weights.iter_mut().zip(states.chunks_exact(out.len())) {
        *weight /= sum;
        out.iter_mut().zip(state).for_each(|(out, state)| *out += *weight * state);
    }
}

/// What the backward pass needs.
#[derive(Debug)]
struct Tape {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor,
    hidden: Tensor,
    weights: Tensor,
    lengths: Vec<i64>,
}

impl Tape {
    /// dL/dx, dL/dW, dL/db and dL/dq from `grad`, dL/dh [R, H]. With g of a run and its weighted mean of g·x: dL/da_t = g·x_t, of
    /// the score s_t a_t (g·x_t − Σ a g·x), and what goes through a_t to x_t directly is a_t g.
    fn backward(&self, grad: &Tensor) -> Vec<Tensor> {
        let mut x_grad = self.x.empty_like();
        let mut before_grad = self.hidden.empty_like(); // of x Wᵀ + b
        let mut query_grad = self.query.zeros_like();
        let lengths = &self.lengths[..];
        let inputs = [&grad.contiguous(), &self.x, &self.hidden, &self.weights, &self.query];
        with_slices(inputs, [&mut x_grad, &mut before_grad, &mut query_grad], |inputs, outputs| {
            let [grad, mut x, mut hidden, mut weights, query] = inputs;
            let [mut x_grad, mut before_grad, query_grad] = outputs;
            let (h, q) = (grad.len() / lengths.len(), query.len());
            let runs = lengths.iter().zip(grad.chunks_exact(h)).map(|(&length, grad)| {
                let length = length as usize;
                Run {
                    grad,
                    query,
                    x: x.split_off(..length * h).unwrap_or_default(),
                    hidden: hidden.split_off(..length * q).unwrap_or_default(),
                    weights: weights.split_off(..length).unwrap_or_default(),
                    x_grad: x_grad.split_off_mut(..length * h).unwrap_or_default(),
                    before_grad: before_grad.split_off_mut(..length * q).unwrap_or_default(),
                }
            });
            let mut runs: Vec<_> = runs.collect();
            let mut sums = vec![0.0; runs.len().div_ceil(PIECE) * q];
            pool::for_each(runs.chunks_mut(PIECE).zip(sums.chunks_exact_mut(q)), |(runs, sums)| {
                Arch::new().dispatch(|| runs.iter_mut().for_each(|run| run.backward(sums)));
            });
            for sums in sums.chunks_exact(q) {
                query_grad.iter_mut().zip(sums).for_each(|(sum, part)| *sum += part);
            }
        });
        let layer = Linear {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            weight_grad: self.weight.zeros_like(),
            bias_grad: self.bias.zeros_like(),
        };
        let x_grad = layer.backward_onto(x_grad, &before_grad, &self.x);
        vec![x_grad, layer.weight_grad, layer.bias_grad, query_grad]
    }
}

/// One run of the backward pass.
struct Run<'a> {
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

impl Run<'_> {
    /// Adds dL/dq to `query_grad`.
    #[inline(always)]
    fn backward(&mut self, query_grad: &mut [f32]) {
        let (h, q) = (self.grad.len(), self.query.len());
        let mut scores: Vec<f32> = self.x.chunks_exact(h).map(|x| sum_product(self.grad, x)).collect();
        let mean = sum_product(self.weights, &scores);
        scores.iter_mut().zip(self.weights).for_each(|(score, weight)| *score = weight * (*score - mean));
        for (x_grad, weight) in self.x_grad.chunks_exact_mut(h).zip(self.weights) {
            x_grad.iter_mut().zip(self.grad).for_each(|(x_grad, grad)| *x_grad = weight * grad);
        }
        let rows = self.before_grad.chunks_exact_mut(q).zip(self.hidden.chunks_exact(q));
        for ((before, hidden), score) in rows.zip(scores) {
            query_grad.iter_mut().zip(hidden).for_each(|(sum, hidden)| *sum += score * hidden);
            for (before, (hidden, query)) in before.iter_mut().zip(hidden.iter().zip(self.query)) {
                *before = score * query * (1.0 - hidden * hidden); // tanh′ = 1 − tanh²
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{AttentivePooling, Runs};

    use super::*;

    /// Numbers that no other test's random generator can disturb.
    fn numbers(size: &[i64], shift: f64) -> Tensor {
        let count = size.iter().product::<i64>();
        ((Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + shift).sin() * 3.0).view(size)
    }

    fn pooling(hidden: i64, query: i64) -> AttentivePooling {
        let pooling = AttentivePooling::zeros(hidden, query, Device::Cpu);
        let count = pooling.arena().layout().numel();
        pooling.arena().values().copy_(&(numbers(&[count], 0.5) * 0.05)); // tanh is to have a slope
        pooling
    }

    const NAMES: [&str; 3] = ["pooling.proj.weight", "pooling.proj.bias", "pooling.query.weight"];

    /// Numbers of rows below and above those from which on products rearrange their weights.
    #[test]
    fn vectors_and_gradients_are_those_of_the_definition_in_f64() {
        for lengths in [vec![5, 1, 9], vec![3; 12], vec![5, 1, 64, 2, 2, 2, 2, 2, 2, 2, 17], vec![70]] {
            let n = lengths.iter().sum::<i64>();
            let pooling = pooling(37, 11);
            let states = numbers(&[n, 37], 0.0).set_requires_grad(true);
            let factors = numbers(&[lengths.len() as i64, 37], 1.0);

            let double = |x: &Tensor| x.detach().to_kind(Kind::Double).set_requires_grad(true);
            let [weight, bias, query] = NAMES.map(|name| double(&pooling.arena().value(name)));
            let states64 = double(&states);
            let scores = states64.linear(&weight, Some(&bias)).tanh().linear(&query, None::<&Tensor>).view(-1);
            let runs =
                scores.split_with_sizes(&lengths[..], 0).into_iter().zip(states64.split_with_sizes(&lengths[..], 0));
            let vectors: Vec<_> = runs.map(|(s, x)| s.softmax(0, None::<Kind>).unsqueeze(0).matmul(&x)).collect();
            let expected = Tensor::cat(&vectors, 0);
            (&expected * double(&factors).detach()).square().sum(Kind::Double).backward();

            let found = pooling.forward(&states, &Runs::new(&lengths, Device::Cpu));
            (&found * &factors).square().sum(Kind::Float).backward();
            let close = |found: &Tensor, expected: &Tensor, what: &str| {
                assert_eq!(found.size(), expected.size());
                let off = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
                assert!(off < 2e-5 * expected.abs().max().double_value(&[]), "{what} of {lengths:?}: off by {off}");
            };
            close(&found, &expected, "vectors");
            close(&states.grad(), &states64.grad(), "states");
            for (name, expected) in NAMES.iter().zip([weight, bias, query]) {
                close(&pooling.arena().grad(name), &expected.grad(), name);
            }
            assert!(tch::no_grad(|| pooling.forward(&states, &Runs::new(&lengths, Device::Cpu))).equal(&found));
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let lengths = [5, 1, 64, 2, 2, 2, 2, 2, 2, 2, 17, 40, 9, 9, 9, 9, 9, 9];
        let states = numbers(&[lengths.iter().sum(), 40], 0.0).set_requires_grad(true);
        let with = |threads| {
            tch::set_num_threads(threads);
            let pooling = pooling(40, 24);
            let pooled = pooling.forward(&states, &Runs::new(&lengths, Device::Cpu));
            let grads = Tensor::run_backward(&[pooled.square().sum(Kind::Float)], &[&states], true, false);
            pooled.square().sum(Kind::Float).backward();
            let parameters = NAMES.map(|name| pooling.arena().grad(name).copy());
            [pooled.detach()].into_iter().chain(grads).chain(parameters).collect::<Vec<_>>()
        };
        let expected = with(1);
        for threads in [2, 3] {
            let found = with(threads);
            assert!(found.iter().zip(&expected).all(|(found, expected)| found.equal(expected)), "{threads} threads");
        }
        tch::set_num_threads(1);
    }

    #[test]
    fn gradients_add_up_in_the_arena() {
        let (pooling, states) = (pooling(24, 16), numbers(&[70, 24], 0.0));
        let run = || {
            let pooled = pooling.forward(&states, &Runs::new(&[30, 40], Device::Cpu));
            pooled.square().sum(Kind::Float).backward();
            NAMES.map(|name| pooling.arena().grad(name).copy())
        };
        for (once, twice) in run().iter().zip(run()) {
            assert!((once * 2.0).allclose(&twice, 1e-6, 1e-6, false));
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let scores = Tensor::from_slice(&[0.0f32, f32::NAN, 1.0]);
        let (out, _) = weighted_sums(&scores, &Tensor::ones([3, 2], (Kind::Float, Device::Cpu)), &[2, 1]);
        let values = Vec::<f32>::try_from(out.view(-1)).unwrap();
        assert!(values[..2].iter().all(|value| value.is_nan()) && values[2..] == [1.0, 1.0]);
    }
}
