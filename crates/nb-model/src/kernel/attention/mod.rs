//! Multi-head self-attention over packed tokens (Vaswani et al. 2017, equation 1), forward and backward.
//!
//! softmax(Q Kᵀ/√D) V within each sequence. On the CPU [`fused`] takes one head of one sequence after the other through
//! all of it, in the caches and without padding, and so does [`flash`] on GPUs that can; elsewhere, and where a loss looks at
//! the scores, [`plain`] makes batched products of it.

mod flash;
mod fused;
mod plain;
mod softmax;

pub(crate) use flash::fits as fits_flash;
pub(crate) use fused::forward_one;
use tch::{Device, Kind, Tensor};

use super::dropout::Dropout;
use crate::encoder::Capture;
use crate::packed::Packed;
use crate::profile::{Phase, scope};

/// What the backward pass needs.
#[derive(Debug)]
pub(crate) enum AttentionTape {
    Fused(fused::Tape),
    Flash(flash::Tape),
    Plain(plain::Tape),
}

impl AttentionTape {
    /// The scores before the softmax, one group after the other, 0 where there is padding; if they were captured.
    pub(crate) fn scores(&self) -> Option<&Tensor> {
        match self {
            Self::Fused(_) | Self::Flash(_) => None,
            Self::Plain(tape) => tape.scores(),
        }
    }
}

/// `qkv` [n, 3H] (queries, keys and values side by side) → the heads' outputs side by side [n, H]. `dropout` gives each of
/// the batch's parts its own.
pub(crate) fn forward(
    qkv: &Tensor,
    packed: &Packed,
    heads: i64,
    dropout: impl Fn(usize) -> Option<Dropout>,
    capture: Capture,
) -> (Tensor, AttentionTape) {
    let _scope = scope(Phase::Attention);
    let fuses = qkv.device() == Device::Cpu && matches!(qkv.kind(), Kind::Float | Kind::BFloat16);
    if fuses && capture < Capture::Scores {
        let (context, tape) = fused::forward(qkv, packed.lengths(), heads, dropout(0));
        return (context, AttentionTape::Fused(tape));
    }
    if capture < Capture::Scores && flash::fits(qkv, heads) {
        let (context, tape) = flash::forward(qkv, packed, heads, dropout(0));
        return (context, AttentionTape::Flash(tape));
    }
    let (context, tape) = plain::forward(qkv, packed, heads, dropout, capture);
    (context, AttentionTape::Plain(tape))
}

/// From dL/d(context) [n, H] and, where a loss looked at them, dL/d(scores) to dL/d(qkv) [n, 3H]. `dropout` as in the
/// forward pass.
pub(crate) fn backward(
    (grad, scores_grad): (&Tensor, Option<&Tensor>),
    packed: &Packed,
    heads: i64,
    dropout: impl Fn(usize) -> Option<Dropout>,
    tape: &AttentionTape,
) -> Tensor {
    let _scope = scope(Phase::Attention);
    match tape {
        AttentionTape::Fused(tape) => fused::backward(grad, packed.lengths(), heads, dropout(0), tape),
        AttentionTape::Flash(tape) => flash::backward(grad, tape),
        AttentionTape::Plain(tape) => plain::backward((grad, scores_grad), packed, heads, dropout, tape),
    }
}
