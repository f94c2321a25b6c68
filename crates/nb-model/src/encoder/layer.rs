//! One encoder layer, forward and backward (Devlin et al. 2019, after Vaswani et al. 2017):
//! y = LN(x + Attention(x)), out = LN(y + W₂ f(W₁ y)).

use tch::Tensor;

use super::{Capture, Pass};
use crate::arena::Arena;
use crate::config::{Activation, BertConfig};
use crate::kernel::activation::ActivationTape;
use crate::kernel::attention::{self, AttentionTape};
use crate::kernel::dropout::{Dropout, site_key};
use crate::kernel::linear::Linear;
use crate::kernel::norm::{LayerNorm, NormTape, State};
use crate::packed::Packed;
use crate::profile::{Phase, scope};

/// Dropout sites of a layer. Attention takes one for each group of sequences, so it comes last.
const ATTENTION_OUT: u64 = 0;
const FEED_FORWARD: u64 = 1;
const ATTENTION_WEIGHTS: u64 = 2;

pub(crate) mod short;

#[derive(Debug)]
pub(crate) struct Layer {
    index: usize,
    heads: i64,
    activation: Activation,
    dropout: f64,
    attention_dropout: f64,
    qkv: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    out_norm: LayerNorm,
}

/// What the backward pass needs of one layer; n rows, H hidden units, F feed-forward units.
#[derive(Debug)]
pub(crate) struct LayerTape {
    /// Input [n, H] in the precision of the products.
    x: Tensor,
    attention: AttentionTape,
    /// Heads' outputs [n, H].
    context: Tensor,
    attention_norm: NormTape,
    /// State between the halves [n, H] in the precision of the products.
    y: Tensor,
    /// Feed-forward after the activation [n, F].
    activated: Tensor,
    /// For the activation's backward pass, where there will be one.
    activation: Option<ActivationTape>,
    out_norm: NormTape,
}

impl LayerTape {
    /// The attention scores, where they were captured.
    pub(crate) fn scores(&self) -> Option<&Tensor> {
        self.attention.scores()
    }
}

impl Layer {
    /// Layer `index` of the arena. `compute` holds the layers' values (of all layers, from `layers_start` on) in the
    /// precision of the products.
    pub(crate) fn new(config: &BertConfig, arena: &Arena, index: usize, compute: &Tensor, layers_start: i64) -> Self {
        let prefix = format!("encoder.layer.{index}");
        let linear = |names: &[&str]| {
            let part = |suffix: &str| {
                let slots: Vec<_> =
                    names.iter().map(|n| arena.layout().slot(&format!("{prefix}.{n}.{suffix}"))).collect();
                let slots: Vec<_> = slots.into_iter().flatten().collect();
                let rows: i64 = slots.iter().map(|s| s.shape[0]).sum();
                let shape: Vec<i64> = std::iter::once(rows).chain(slots[0].shape[1..].iter().copied()).collect();
                let numel: i64 = shape.iter().product();
                let value = compute.narrow(0, slots[0].offset - layers_start, numel).view(shape.as_slice());
                (value, arena.grads().narrow(0, slots[0].offset, numel).view(shape.as_slice()))
            };
            let ((weight, weight_grad), (bias, bias_grad)) = (part("weight"), part("bias"));
            Linear { weight, bias, weight_grad, bias_grad }
        };
        let norm = |name: &str| super::layer_norm(arena, &format!("{prefix}.{name}"), config.layer_norm_eps);
        Self {
            index,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
            qkv: linear(&["attention.self.query", "attention.self.key", "attention.self.value"]),
            attention_out: linear(&["attention.output.dense"]),
            attention_norm: norm("attention.output.LayerNorm"),
            up: linear(&["intermediate.dense"]),
            down: linear(&["output.dense"]),
            out_norm: norm("output.LayerNorm"),
        }
    }

    /// The layer's input → its output.
    pub(crate) fn forward(&self, input: &State, packed: &Packed, pass: Pass, capture: Capture) -> (State, LayerTape) {
        let _scope = scope(Phase::Elementwise); // what is not said to be another's
        let weights_dropout = |group| self.attention_site(pass, group);
        let qkv = self.qkv.forward(&input.low);
        let (context, attention) = attention::forward(&qkv, packed, self.heads, weights_dropout, capture);
        let branch = self.attention_out.forward(&context);
        let dropout = self.hidden_site(pass, ATTENTION_OUT);
        let (middle, attention_norm) = self.attention_norm.forward(branch, dropout, &input.wide);

        let (activated, activation) = match pass {
            Pass::Inference => (self.up.activated(&middle.low, self.activation), None),
            Pass::Training(_) => {
                let (activated, tape) = self.up.activated_with_tape(&middle.low, self.activation);
                (activated, Some(tape))
            }
        };
        let branch = self.down.forward(&activated);
        let dropout = self.hidden_site(pass, FEED_FORWARD);
        let (out, out_norm) = self.out_norm.forward(branch, dropout, &middle.wide);
        let (x, y) = (input.low.shallow_clone(), middle.low);
        (out, LayerTape { x, attention, context, attention_norm, y, activation, activated, out_norm })
    }

    /// From dL/d(out) and, where a loss looked at them, dL/d(scores) adds the gradients of all parameters to the arena and
    /// returns dL/dx, [n, H] f32 as dL/d(out).
    pub(crate) fn backward(
        &self,
        grad: &Tensor,
        scores_grad: Option<&Tensor>,
        packed: &Packed,
        pass: Pass,
        tape: LayerTape,
    ) -> Tensor {
        let _scope = scope(Phase::Elementwise);
        let kind = self.qkv.weight.kind();
        let dropout = self.hidden_site(pass, FEED_FORWARD);
        let (residual, branch) = self.out_norm.backward(grad, &tape.out_norm, dropout, kind);
        let activation = tape.activation.expect("a training pass keeps it");
        let branch = self.down.backward_through(self.activation, &activation, &branch, &tape.activated);
        let middle = self.up.backward_onto(residual, &branch, &tape.y);

        let dropout = self.hidden_site(pass, ATTENTION_OUT);
        let (residual, branch) = self.attention_norm.backward(&middle, &tape.attention_norm, dropout, kind);
        let branch = self.attention_out.backward(&branch, &tape.context);
        let weights_dropout = |group| self.attention_site(pass, group);
        let grads = (&branch, scores_grad);
        let qkv = attention::backward(grads, packed, self.heads, weights_dropout, &tape.attention);
        self.qkv.backward_onto(residual, &qkv, &tape.x)
    }

    fn hidden_site(&self, pass: Pass, site: u64) -> Option<Dropout> {
        Dropout::new(self.dropout, self.site(pass, site))
    }

    fn attention_site(&self, pass: Pass, group: usize) -> Option<Dropout> {
        Dropout::new(self.attention_dropout, self.site(pass, ATTENTION_WEIGHTS + group as u64))
    }

    fn site(&self, pass: Pass, site: u64) -> Option<u64> {
        pass.dropout_key().map(|key| site_key(key, self.index + 1, site))
    }
}
