//! Attentive pooling on the CPU where no gradient is recorded, as a model at work has it: each run on its own, so that no weight is
//! 0 and no product with it is computed.

use pulp::Arch;
use tch::{Device, Kind, Tensor};

use crate::host::with_slices;
use crate::pool;

/// Runs per parallel piece.
const PIECE: usize = 8;

/// Whether pooling belongs here: `scores` \[n\] and `states` [n, H], of which neither is part of a graph.
pub(super) fn pays(scores: &Tensor, states: &Tensor) -> bool {
    let is_plain =
        |tensor: &Tensor| tensor.kind() == Kind::Float && tensor.device() == Device::Cpu && !tensor.requires_grad();
    is_plain(scores) && is_plain(states)
}

/// Σ_t softmax(scores)_t · state_t over each run, [R, H].
pub(super) fn pooled(scores: &Tensor, states: &Tensor, lengths: &[i64]) -> Tensor {
    let hidden = states.size()[1] as usize;
    let mut out = Tensor::zeros([lengths.len() as i64, hidden as i64], (Kind::Float, Device::Cpu));
    with_slices([&scores.contiguous(), &states.contiguous()], [&mut out], |[mut scores, mut states], [out]| {
        let runs = lengths.iter().zip(out.chunks_exact_mut(hidden)).map(|(&length, out)| {
            let scores = scores.split_off(..length as usize).unwrap_or_default();
            (scores, states.split_off(..length as usize * hidden).unwrap_or_default(), out)
        });
        let mut runs: Vec<_> = runs.collect();
        pool::for_each(runs.chunks_mut(PIECE), |runs| {
            Arch::new().dispatch(|| runs.iter_mut().for_each(|(scores, states, out)| pool_run(scores, states, out)));
        });
    });
    out
}

/// One run; `out` \[H\] is 0 before.
#[inline(always)]
fn pool_run(scores: &[f32], states: &[f32], out: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (score, state) in scores.iter().zip(states.chunks_exact(out.len())) {
        let weight = (score - largest).exp();
        sum += weight;
        out.iter_mut().zip(state).for_each(|(out, state)| *out += weight * state);
    }
    out.iter_mut().for_each(|out| *out /= sum);
}

#[cfg(test)]
mod tests {
    use crate::{AttentivePooling, Runs};

    use super::*;

    #[test]
    fn vectors_are_those_of_the_recorded_way() {
        let lengths = [5, 1, 64, 2, 2, 2, 2, 2, 2, 2, 17];
        let n = lengths.iter().sum::<i64>();
        let numbers = |size: &[i64], shift: f64| {
            let count = size.iter().product::<i64>();
            ((Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + shift).sin() * 3.0).view(size)
        };
        let pooling = AttentivePooling::zeros(37, 11, Device::Cpu);
        let count = pooling.arena().layout().numel();
        pooling.arena().values().copy_(&numbers(&[count], 0.5));
        let (states, runs) = (numbers(&[n, 37], 0.0), Runs::new(&lengths, Device::Cpu));
        let expected = pooling.forward(&states, &runs);
        assert!(expected.requires_grad());
        let found = tch::no_grad(|| pooling.forward(&states, &runs));
        assert!(!found.requires_grad() && found.allclose(&expected, 1e-5, 1e-5, false));
    }

    /// So many rows that products go by oneDNN where that pays.
    #[test]
    fn gradients_of_many_rows_land_in_the_arena() {
        let numbers =
            |size: [i64; 2]| (Tensor::arange(size[0] * size[1], (Kind::Float, Device::Cpu)) * 0.7).sin().view(size);
        let pooling = AttentivePooling::zeros(24, 16, Device::Cpu);
        let count = pooling.arena().layout().numel();
        pooling.arena().values().copy_(&numbers([1, count]).view(-1));
        let [weight, bias, query] = ["pooling.proj.weight", "pooling.proj.bias", "pooling.query.weight"]
            .map(|name| pooling.arena().value(name).copy().set_requires_grad(true));
        let states = numbers([70, 24]);
        // One run, by the definition.
        let scores = states.linear(&weight, Some(&bias)).tanh().linear(&query, None::<&Tensor>).view([1, -1]);
        let expected = scores.softmax(-1, None::<Kind>).matmul(&states);
        expected.square().sum(Kind::Float).backward();
        for _ in 0..2 {
            let pooled = pooling.forward(&states, &Runs::new(&[70], Device::Cpu));
            assert!(pooled.allclose(&expected, 1e-5, 1e-6, false));
            pooled.square().sum(Kind::Float).backward();
        }
        for (name, expected) in
            [("pooling.proj.weight", weight), ("pooling.proj.bias", bias), ("pooling.query.weight", query)]
        {
            let (found, expected) = (pooling.arena().grad(name), expected.grad() * 2.0);
            let off = (&found - &expected).abs().max().double_value(&[]);
            assert!(off < 1e-4 * expected.abs().max().double_value(&[]) + 1e-6, "{name}: off by {off}");
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let scores = Tensor::from_slice(&[0.0f32, f32::NAN, 1.0]);
        let out = pooled(&scores, &Tensor::ones([3, 2], (Kind::Float, Device::Cpu)), &[2, 1]);
        let values = Vec::<f32>::try_from(out.view(-1)).unwrap();
        assert!(values[..2].iter().all(|value| value.is_nan()) && values[2..] == [1.0, 1.0]);
    }
}
