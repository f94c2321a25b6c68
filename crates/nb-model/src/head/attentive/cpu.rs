//! Attentive pooling on the CPU, forward and backward, by [`nb_kernels::pooling`] and the encoder's dense layers.

use nb_kernels::pooling::{self, Backward, Forward};
use nb_torch::cpu_slices::{read, with_slices, write};
use nb_torch::with_backward;
use tch::{Device, Kind, Tensor};

use crate::kernel::linear::{self, Grads, Linear};

/// The parameters of the pooling.
#[derive(Debug)]
pub(super) struct Parameters<'a> {
    /// W [Q, H]
    pub(super) weight: &'a Tensor,
    /// b \[Q\]
    pub(super) bias: &'a Tensor,
    /// q [1, Q]
    pub(super) query: &'a Tensor,
}

/// Returns true if this module can pool `states` [n, H].
pub(super) fn is_supported(states: &Tensor) -> bool {
    states.kind() == Kind::Float && states.device() == Device::Cpu
}

/// Pools `states` [n, H] to one vector per segment, [R, H]. Autograd records it as a function of states and parameters.
pub(super) fn pool(states: &Tensor, parameters: &Parameters<'_>, lengths: &[i64]) -> Tensor {
    let Parameters { weight, bias, query } = *parameters;
    // The graph must not hold its own inputs, or it would never be freed.
    let [x, plain_weight, plain_bias, plain_query] =
        [states, weight, bias, query].map(|tensor| tensor.detach().contiguous());
    let plain = Parameters { weight: &plain_weight, bias: &plain_bias, query: &plain_query };
    let Scored { hidden, scores } = score(&x, &plain);
    let lengths: Vec<usize> = lengths.iter().map(|&length| length as usize).collect();
    let (out, weights) = weighted_sums(&scores, &x, &lengths);
    let tape = Tape { x, weight: plain_weight, bias: plain_bias, query: plain_query, hidden, weights, lengths };
    with_backward(&out, &[states, weight, bias, query], move |grad| tape.backward(&grad))
        .unwrap_or_else(|e| panic!("a node of autograd's graph: {e}"))
}

/// The scores of all rows.
pub(super) struct Scored {
    /// e = tanh(x Wᵀ + b), [n, Q].
    hidden: Tensor,
    /// e·q, \[n\].
    pub(super) scores: Tensor,
}

/// Scores each row of `states` [n, H].
pub(super) fn score(states: &Tensor, parameters: &Parameters<'_>) -> Scored {
    let Parameters { weight, bias, query } = *parameters;
    let hidden = tch::no_grad(|| linear::forward(states, weight, bias).tanh_());
    let mut scores = Tensor::empty([states.size()[0]], (Kind::Float, Device::Cpu));
    with_slices(([&hidden, query].map(read::<f32>), write::<f32>(&mut scores)), |([hidden, query], scores)| {
        pooling::scores(hidden, query, scores);
    });
    Scored { hidden, scores }
}

/// Returns Σ_t a_t · state_t over each segment, [R, H], and all weights a = softmax(scores), \[n\].
fn weighted_sums(scores: &Tensor, states: &Tensor, lengths: &[usize]) -> (Tensor, Tensor) {
    let mut out = Tensor::empty([lengths.len() as i64, states.size()[1]], (Kind::Float, Device::Cpu));
    let mut weights = Tensor::empty([states.size()[0]], (Kind::Float, Device::Cpu));
    with_slices(
        ([scores, states].map(read::<f32>), [&mut out, &mut weights].map(write::<f32>)),
        |([scores, x], [out, weights])| Forward { lengths, scores, x, weights, out }.run(),
    );
    (out, weights)
}

/// The input of the backward pass.
#[derive(Debug)]
struct Tape {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor,
    hidden: Tensor,
    weights: Tensor,
    lengths: Vec<usize>,
}

impl Tape {
    /// Computes dL/dx, dL/dW, dL/db and dL/dq from `grad`, dL/dh [R, H].
    fn backward(&self, grad: &Tensor) -> Vec<Tensor> {
        let mut x_grad = self.x.empty_like();
        let mut before_grad = self.hidden.empty_like();
        let mut query_grad = self.query.zeros_like();
        let (lengths, grad) = (&self.lengths[..], grad.contiguous());
        with_slices(
            (
                [&grad, &self.x, &self.hidden, &self.weights, &self.query].map(read::<f32>),
                [&mut x_grad, &mut before_grad, &mut query_grad].map(write::<f32>),
            ),
            |([grad, x, hidden, weights, query], [x_grad, before_grad, query_grad])| {
                Backward { lengths, grad, x, hidden, weights, query, x_grad, before_grad, query_grad }.run();
            },
        );
        let (weight, bias) = (self.weight.zeros_like(), self.bias.zeros_like());
        let layer = Linear {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            grads: Some(Grads { weight: weight.shallow_clone(), bias: bias.shallow_clone() }),
        };
        let x_grad = layer.backward_onto(x_grad, &before_grad, &self.x);
        vec![x_grad, weight, bias, query_grad]
    }
}

#[cfg(test)]
mod tests {
    use nb_testing::tensor_wave;

    use super::*;
    use crate::{AttentivePooling, Segments};

    fn numbers(size: &[i64], shift: f64) -> Tensor {
        tensor_wave(size, shift, Device::Cpu) * 3.0
    }

    fn pooling(hidden: i64, query: i64) -> AttentivePooling {
        let pooling = AttentivePooling::zeros(hidden, query, Device::Cpu);
        let count = pooling.arena().layout().numel();
        pooling.arena().values().copy_(&(numbers(&[count], 0.5) * 0.05)); // small, so that tanh has a slope
        pooling
    }

    const NAMES: [&str; 3] = ["pooling.proj.weight", "pooling.proj.bias", "pooling.query.weight"];

    /// Covers numbers of rows below and above the threshold at which products pack their weights.
    #[test]
    fn vectors_and_gradients_match_the_definition_in_f64() {
        for lengths in [vec![5, 1, 9], vec![3; 12], vec![5, 1, 64, 2, 2, 2, 2, 2, 2, 2, 17], vec![70]] {
            let n = lengths.iter().sum::<i64>();
            let pooling = pooling(37, 11);
            let states = numbers(&[n, 37], 0.0).set_requires_grad(true);
            let factors = numbers(&[lengths.len() as i64, 37], 1.0);

            let double = |x: &Tensor| x.detach().to_kind(Kind::Double).set_requires_grad(true);
            let [weight, bias, query] = NAMES.map(|name| double(&pooling.arena().value(name)));
            let states64 = double(&states);
            let scores = states64.linear(&weight, Some(&bias)).tanh().linear(&query, None::<&Tensor>).view(-1);
            let split = |tensor: &Tensor| tensor.split_with_sizes(&lengths[..], 0).into_iter();
            let segments = split(&scores).zip(split(&states64));
            let vectors: Vec<_> = segments.map(|(s, x)| s.softmax(0, None::<Kind>).unsqueeze(0).matmul(&x)).collect();
            let expected = Tensor::cat(&vectors, 0);
            (&expected * double(&factors).detach()).square().sum(Kind::Double).backward();

            let found = pooling.forward(&states, &Segments::new(&lengths, Device::Cpu));
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
            assert!(tch::no_grad(|| pooling.forward(&states, &Segments::new(&lengths, Device::Cpu))).equal(&found));
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let lengths = [5, 1, 64, 2, 2, 2, 2, 2, 2, 2, 17, 40, 9, 9, 9, 9, 9, 9];
        let states = numbers(&[lengths.iter().sum(), 40], 0.0).set_requires_grad(true);
        let with = |threads| {
            nb_kernels::threads::set(threads);
            let pooling = pooling(40, 24);
            let pooled = pooling.forward(&states, &Segments::new(&lengths, Device::Cpu));
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
        nb_kernels::threads::set(1);
    }

    #[test]
    fn gradients_add_up_in_the_arena() {
        let (pooling, states) = (pooling(24, 16), numbers(&[70, 24], 0.0));
        let run = || {
            let pooled = pooling.forward(&states, &Segments::new(&[30, 40], Device::Cpu));
            pooled.square().sum(Kind::Float).backward();
            NAMES.map(|name| pooling.arena().grad(name).copy())
        };
        for (once, twice) in run().iter().zip(run()) {
            assert!((once * 2.0).allclose(&twice, 1e-6, 1e-6, false));
        }
    }
}
