//! Multi-head self-attention over packed tokens (Vaswani et al. 2017, equation 1), forward and backward.
//!
//! The operation is softmax(Q Kᵀ/√D) V within each sequence. On the CPU, `fused` computes all of it for one head of one
//! sequence at a time, in the caches and without padding; on GPUs that have FlashAttention, `flash` computes it. Elsewhere, or
//! if a loss reads the scores, `plain` uses batched products.

mod flash;
mod fused;
mod plain;

pub use flash::is_available as is_flash_available;
use nb_kernels::dropout::Dropout;
use tch::{Device, Kind, Tensor};

use crate::packed::Packed;
use crate::pass::Capture;
use crate::profile::{Phase, scope};

/// The input of the backward pass.
#[derive(Debug)]
pub struct AttentionTape(Tape);

#[derive(Debug)]
enum Tape {
    Fused(fused::Tape),
    Flash(flash::Tape),
    Plain(plain::Tape),
}

impl AttentionTape {
    /// Returns the scores before the softmax, one group after the other, 0 where there is padding; `None` unless they were
    /// captured.
    pub fn scores(&self) -> Option<&Tensor> {
        match &self.0 {
            Tape::Fused(_) | Tape::Flash(_) => None,
            Tape::Plain(tape) => tape.scores(),
        }
    }
}

/// Maps `qkv` [n, 3H] (queries, keys and values side by side) to the heads' outputs side by side [n, H]. `dropout` returns the
/// dropout of each part of the batch.
pub fn forward(
    qkv: &Tensor,
    packed: &Packed,
    heads: i64,
    dropout: impl Fn(usize) -> Option<Dropout>,
    capture: Capture,
) -> (Tensor, AttentionTape) {
    let _scope = scope(Phase::Attention);
    let is_fusible = qkv.device() == Device::Cpu && matches!(qkv.kind(), Kind::Float | Kind::BFloat16);
    let (context, tape) = if is_fusible && capture < Capture::Scores {
        let (context, tape) = fused::forward(qkv, packed.lengths(), heads, dropout(0));
        (context, Tape::Fused(tape))
    } else if capture < Capture::Scores && is_flash_available(qkv, heads) {
        let (context, tape) = flash::forward(qkv, packed, heads, dropout(0));
        (context, Tape::Flash(tape))
    } else {
        let (context, tape) = plain::forward(qkv, packed, heads, dropout, capture);
        (context, Tape::Plain(tape))
    };
    (context, AttentionTape(tape))
}

/// Computes dL/d(qkv) [n, 3H] from dL/d(context) [n, H] and, if a loss read the scores, dL/d(scores). `dropout` must be that of
/// the forward pass.
pub fn backward(
    grad: &Tensor,
    scores_grad: Option<&Tensor>,
    packed: &Packed,
    heads: i64,
    dropout: impl Fn(usize) -> Option<Dropout>,
    tape: &AttentionTape,
) -> Tensor {
    let _scope = scope(Phase::Attention);
    match &tape.0 {
        Tape::Fused(tape) => fused::backward(grad, packed.lengths(), heads, dropout(0), tape),
        Tape::Flash(tape) => flash::backward(grad, tape),
        Tape::Plain(tape) => plain::backward(grad, scores_grad, packed, heads, dropout, tape),
    }
}
