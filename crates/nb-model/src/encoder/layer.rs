//! One encoder layer, forward and backward (Devlin et al. 2019, after Vaswani et al. 2017):
//! y = LN(x + Attention(x)), out = LN(y + W₂ f(W₁ y)).

use nb_checkpoint::BertConfig;
use nb_kernels::Activation;
use nb_kernels::dropout::{Dropout, site_key};
use tch::Tensor;

use crate::arena::Arena;

use crate::kernel::activation::ActivationTape;
use crate::kernel::attention::{self, AttentionTape};
use crate::kernel::layer_norm::{LayerNorm, NormTape, State};
use crate::kernel::linear::{Grads, Linear};
use crate::packed::Packed;
use crate::pass::{Capture, Pass};
use crate::profile::{Phase, scope};

pub(crate) mod short;

/// Dropout sites of a layer. Attention uses one site for each group of sequences, so its sites come last.
const ATTENTION_OUT: u64 = 0;
const FEED_FORWARD: u64 = 1;
const ATTENTION_WEIGHTS: u64 = 2;

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

/// The input of one layer's backward pass, for n rows, H hidden units, F feed-forward units.
#[derive(Debug)]
pub(crate) struct LayerTape {
    /// Input [n, H] in the precision of the products.
    x: Tensor,
    attention: AttentionTape,
    /// The heads' outputs [n, H].
    context: Tensor,
    attention_norm: NormTape,
    /// State between the halves [n, H] in the precision of the products.
    y: Tensor,
    /// Feed-forward after the activation [n, F].
    activated: Tensor,
    /// For the activation's backward pass; `None` after an inference pass.
    activation: Option<ActivationTape>,
    out_norm: NormTape,
}

/// The gradients from which a layer's backward pass starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputGrads<'a> {
    /// dL/d(out), [n, H].
    pub(crate) out: &'a Tensor,
    /// dL/d(scores), if a loss read the scores.
    pub(crate) scores: Option<&'a Tensor>,
}

impl LayerTape {
    /// Returns the attention scores; `None` unless they were captured.
    pub(crate) fn scores(&self) -> Option<&Tensor> {
        self.attention.scores()
    }
}

impl Layer {
    /// Creates layer `index` over `parameters`.
    pub(crate) fn new(config: &BertConfig, parameters: &LayerParameters<'_>, index: usize) -> Self {
        let prefix = format!("encoder.layer.{index}");
        let linear = |names: &[&str]| parameters.linear(&prefix, names);
        let norm =
            |name: &str| LayerNorm::in_arena(parameters.arena, &format!("{prefix}.{name}"), config.layer_norm_eps);
        Self {
            index,
            heads: config.num_attention_heads,
            activation: activation(config.hidden_act),
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

    /// Maps the layer's input to its output.
    pub(crate) fn forward(&self, input: &State, packed: &Packed, pass: Pass, capture: Capture) -> (State, LayerTape) {
        let _scope = scope(Phase::Elementwise); // everything outside inner scopes
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

    /// Adds the gradients of all trained parameters to the arena. Returns dL/dx, [n, H] f32 like dL/d(out).
    pub(crate) fn backward(&self, grads: OutputGrads<'_>, packed: &Packed, pass: Pass, tape: &LayerTape) -> Tensor {
        let _scope = scope(Phase::Elementwise);
        let (residual, qkv) = self.backward_to_qkv(grads, packed, pass, tape);
        self.qkv.backward_onto(residual, &qkv, &tape.x)
    }

    /// Does the same as [`Layer::backward`], but computes no dL/dx.
    pub(crate) fn backward_parameters(&self, grads: OutputGrads<'_>, packed: &Packed, pass: Pass, tape: &LayerTape) {
        let _scope = scope(Phase::Elementwise);
        let (_, qkv) = self.backward_to_qkv(grads, packed, pass, tape);
        self.qkv.backward_parameters(&qkv, &tape.x);
    }

    /// Does the backward pass down to the queries, keys and values. Returns the part of dL/dx along the residual, and
    /// dL/d(queries, keys, values).
    fn backward_to_qkv(
        &self,
        grads: OutputGrads<'_>,
        packed: &Packed,
        pass: Pass,
        tape: &LayerTape,
    ) -> (Tensor, Tensor) {
        let OutputGrads { out: grad, scores: scores_grad } = grads;
        let kind = self.qkv.weight.kind();
        let dropout = self.hidden_site(pass, FEED_FORWARD);
        let (residual, branch) = self.out_norm.backward(grad, &tape.out_norm, dropout, kind);
        let activation = tape.activation.as_ref().expect("a training pass stores it");
        let branch = self.down.backward_through(self.activation, activation, &branch, &tape.activated);
        let middle = self.up.backward_onto(residual, &branch, &tape.y);

        let dropout = self.hidden_site(pass, ATTENTION_OUT);
        let (residual, branch) = self.attention_norm.backward(&middle, &tape.attention_norm, dropout, kind);
        let branch = self.attention_out.backward(&branch, &tape.context);
        let weights_dropout = |group| self.attention_site(pass, group);
        let qkv = attention::backward(&branch, scores_grad, packed, self.heads, weights_dropout, &tape.attention);
        (residual, qkv)
    }

    /// Turns dropout off in training passes.
    pub(crate) fn turn_off_dropout(&mut self) {
        self.dropout = 0.0;
        self.attention_dropout = 0.0;
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

/// The memory of all layers' parameters.
pub(crate) struct LayerParameters<'a> {
    pub(crate) arena: &'a Arena,
    /// The values of all layers in the precision of the products.
    pub(crate) values: &'a Tensor,
    /// The offset in the arena at which the layers begin.
    pub(crate) start: i64,
}

impl LayerParameters<'_> {
    /// Returns the dense layers `{prefix}.{name}` as one, with their outputs side by side. Their parameters are adjacent in the
    /// arena.
    fn linear(&self, prefix: &str, names: &[&str]) -> Linear {
        let find = |suffix: &str| -> (Tensor, Option<Tensor>) {
            let names = names.iter().map(|name| format!("{prefix}.{name}.{suffix}"));
            self.joined(&names.collect::<Vec<_>>())
        };
        let ((weight, weight_grad), (bias, bias_grad)) = (find("weight"), find("bias"));
        let grads = weight_grad.zip(bias_grad).map(|(weight, bias)| Grads { weight, bias });
        Linear { weight, bias, grads }
    }

    /// Returns values and gradients of adjacent parameters, joined along their first dimension. Parameters that are not trained
    /// have no gradients.
    fn joined(&self, names: &[String]) -> (Tensor, Option<Tensor>) {
        let slots: Vec<_> = names.iter().filter_map(|name| self.arena.layout().slot(name)).collect();
        let rows: i64 = slots.iter().map(|slot| slot.shape[0]).sum();
        let shape: Vec<i64> = std::iter::once(rows).chain(slots[0].shape[1..].iter().copied()).collect();
        let (offset, numel) = (slots[0].offset, shape.iter().product());
        let value = self.values.narrow(0, offset - self.start, numel).view(shape.as_slice());
        let grads = self.arena.grads_of(offset..offset + numel);
        (value, grads.map(|grads| grads.view(shape.as_slice())))
    }
}

/// Converts an activation of the configuration to the kernels' type.
fn activation(name: nb_checkpoint::Activation) -> Activation {
    match name {
        nb_checkpoint::Activation::Gelu => Activation::Gelu,
        nb_checkpoint::Activation::GeluNew => Activation::GeluTanh,
        nb_checkpoint::Activation::Relu => Activation::Relu,
        nb_checkpoint::Activation::Silu => Activation::Silu,
    }
}
