//! Attention on the CPU by [`nb_kernels::attention`]: one head of one sequence at a time, without padding.

use half::bf16;
use nb_kernels::Float;
use nb_kernels::attention::{Batch, Heads, Softmax};
use nb_kernels::dropout::Dropout;
use nb_torch::cpu_slices::{TensorElement, read, with_slices, write};
use tch::{Device, Kind, Tensor};

/// The input of the backward pass.
#[derive(Debug)]
pub(super) struct Tape {
    /// [n, 3H]
    qkv: Tensor,
    /// Sequence by sequence [heads, length].
    softmax: Vec<Softmax>,
}

pub(super) fn forward(qkv: &Tensor, lengths: &[i64], heads: i64, dropout: Option<Dropout>) -> (Tensor, Tape) {
    let (n, width) = qkv.size2().unwrap_or_else(|e| panic!("attention takes [n, 3H]: {e}"));
    let qkv = qkv.contiguous();
    let mut out = Tensor::empty([n, width / 3], (qkv.kind(), Device::Cpu));
    let mut softmax = vec![Softmax::default(); n as usize * heads as usize];
    let lengths = to_usize(lengths);
    let batch = Batch { lengths: &lengths, heads: Heads::new(width as usize / 3, heads as usize), dropout };
    match qkv.kind() {
        Kind::BFloat16 => forward_of::<bf16>(&batch, &qkv, &mut out, &mut softmax),
        _ => forward_of::<f32>(&batch, &qkv, &mut out, &mut softmax),
    }
    (out, Tape { qkv, softmax })
}

fn forward_of<T: TensorElement + Float>(batch: &Batch<'_>, qkv: &Tensor, out: &mut Tensor, softmax: &mut [Softmax]) {
    with_slices((read::<T>(qkv), write::<T>(out)), |(qkv, out)| batch.forward(qkv, out, softmax));
}

pub(super) fn backward(grad: &Tensor, lengths: &[i64], heads: i64, dropout: Option<Dropout>, tape: &Tape) -> Tensor {
    let lengths = to_usize(lengths);
    let heads = Heads::new(grad.size()[1] as usize, heads as usize);
    let batch = Batch { lengths: &lengths, heads, dropout };
    let grad = grad.contiguous();
    let mut out = tape.qkv.empty_like();
    match tape.qkv.kind() {
        Kind::BFloat16 => backward_of::<bf16>(&batch, &grad, tape, &mut out),
        _ => backward_of::<f32>(&batch, &grad, tape, &mut out),
    }
    out
}

fn backward_of<T: TensorElement + Float>(batch: &Batch<'_>, grad: &Tensor, tape: &Tape, out: &mut Tensor) {
    let softmax = tape.softmax.as_slice();
    with_slices(([grad, &tape.qkv].map(read::<T>), write::<T>(out)), |([grad, qkv], out)| {
        batch.backward(grad, qkv, softmax, out);
    });
}

fn to_usize(lengths: &[i64]) -> Vec<usize> {
    lengths.iter().map(|&length| length as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packed;
    use crate::kernel::attention::plain;
    use crate::pass::Capture;

    fn packed(lengths: &[i64]) -> Packed {
        let n: i64 = lengths.iter().sum();
        Packed::new(&vec![0; n as usize], &vec![0; n as usize], lengths, Device::Cpu)
    }

    /// Covers lengths on both sides of a row's alignment, and heads that do and do not fill a register.
    #[test]
    fn results_and_gradients_match_the_plain_form() {
        tch::manual_seed(6);
        for (lengths, heads, size) in
            [(vec![33, 32, 17, 16, 3, 1], 2, 4), (vec![9, 2], 3, 32), (vec![1], 1, 16), (vec![64, 40], 2, 24)]
        {
            let n = lengths.iter().sum::<i64>();
            let random = |width| Tensor::randn([n, width], (Kind::Float, Device::Cpu));
            let (qkv, grad, packed) = (random(3 * heads * size), random(heads * size), packed(&lengths));
            let (expected, tape) = plain::forward(&qkv, &packed, heads, |_| None, Capture::Last);
            let expected_grad = plain::backward(&grad, None, &packed, heads, |_| None, &tape);
            let (found, tape) = forward(&qkv, &lengths, heads, None);
            let found_grad = backward(&grad, &lengths, heads, None, &tape);
            for (found, expected) in [(found, expected), (found_grad, expected_grad)] {
                let error = (&found - &expected).abs().max().double_value(&[]);
                assert!(error < 3e-6 * expected.abs().max().double_value(&[]), "{lengths:?}: {error}");
            }
        }
    }

    #[test]
    fn bf16_differs_from_f32_only_by_rounding() {
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
            // The result is rounded once, by at most half a unit of the eighth binary digit.
            let error = (rounded.to_kind(Kind::Float) - &exact).abs() / (exact.abs() + 1e-6);
            assert!(error.max().double_value(&[]) < 1.0 / 256.0);
        }
    }

    /// With a fixed key, dropout is a fixed linear map of the weights, so central differences include it.
    #[test]
    fn the_gradient_with_dropout_matches_central_differences() {
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

    /// Each sequence and each head drops different weights. With all values 1 and no dropout, every output would be 1.
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
