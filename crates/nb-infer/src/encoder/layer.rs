//! A layer: attention, then two dense layers, each followed by LayerNorm of the sum with its input.

use nb_checkpoint::{BertConfig, FloatTensors};
use nb_kernels::Activation;
use nb_kernels::attention::{Heads, attend};
use nb_kernels::layer_norm::{Parameters, normalise_sum};

use super::observer::{LayerInput, Observer};
use crate::dense::{Dense, DenseScratch, resized};
use crate::error::InferError;
use crate::options::Precision;

/// The parameters of a LayerNorm.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f64,
}

/// The width of the rows that a LayerNorm normalises, and its ε.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormShape {
    pub(crate) width: usize,
    pub(crate) eps: f64,
}

impl Norm {
    pub(crate) fn new(weights: &FloatTensors<'_>, name: &str, shape: NormShape) -> Result<Self, InferError> {
        let part = |part: &str| weights.get(&format!("{name}.{part}"), &[shape.width]);
        Ok(Self { weight: part("weight")?, bias: part("bias")?, eps: shape.eps })
    }

    /// Replaces `x` by LN(x + branch).
    pub(crate) fn add(&self, x: &mut [f32], branch: &[f32]) {
        normalise_sum(x, branch, &Parameters { weight: &self.weight, bias: &self.bias, eps: self.eps });
    }
}

#[derive(Debug)]
pub(super) struct Layer {
    heads: Heads,
    qkv: Dense,
    attention_out: Dense,
    attention_norm: Norm,
    up: Dense,
    down: Dense,
    out_norm: Norm,
}

/// The buffers of a layer.
#[derive(Debug, Default)]
pub(super) struct LayerScratch {
    qkv: Vec<f32>,
    context: Vec<f32>,
    branch: Vec<f32>,
}

impl Layer {
    pub(super) fn new(
        config: &BertConfig,
        weights: &FloatTensors<'_>,
        index: i64,
        precision: Precision,
    ) -> Result<Self, InferError> {
        let (h, f) = (config.hidden_size as usize, config.intermediate_size as usize);
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let dense = |parts: &[&str], shape, activation| {
            let names: Vec<String> = parts.iter().map(|part| name(part)).collect();
            Dense::read_side_by_side(weights, &names, shape, precision, activation)
        };
        let norm = |part: &str| Norm::new(weights, &name(part), NormShape { width: h, eps: config.layer_norm_eps });
        let qkv = ["attention.self.query", "attention.self.key", "attention.self.value"];
        Ok(Self {
            heads: Heads::new(h, config.num_attention_heads as usize),
            qkv: dense(&qkv, [h, h], None)?,
            attention_out: dense(&["attention.output.dense"], [h, h], None)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            up: dense(&["intermediate.dense"], [f, h], Some(activation(config.hidden_act)))?,
            down: dense(&["output.dense"], [h, f], None)?,
            out_norm: norm("output.LayerNorm")?,
        })
    }

    /// Replaces the states `x` [n, H] of texts of these lengths by the layer's output, and shows the inputs of dense layers to `observer`.
    pub(super) fn forward<O: Observer>(
        &self,
        x: &mut [f32],
        lengths: &[usize],
        dense: &mut DenseScratch,
        scratch: &mut LayerScratch,
        observer: &mut O,
    ) {
        let rows = x.len() / self.heads.hidden();
        let LayerScratch { qkv, context, branch } = scratch;
        let qkv = resized(qkv, rows * self.qkv.outputs());
        let (context, branch) = (resized(context, x.len()), resized(branch, x.len()));
        observer.see(LayerInput::Attention, x);
        self.qkv.forward_to(x, dense, qkv);
        attend(lengths, self.heads, qkv, context);
        observer.see(LayerInput::AttentionOutput, context);
        self.attention_out.forward_to(context, dense, branch);
        self.attention_norm.add(x, branch);

        observer.see(LayerInput::Intermediate, x);
        if O::LOOKS {
            let mut units = Vec::new();
            self.up.forward(x, dense, &mut units);
            observer.see(LayerInput::Output, &units);
            self.down.forward_to(&units, dense, branch);
        } else {
            self.up.forward_through(&self.down, x, dense, branch);
        }
        self.out_norm.add(x, branch);
    }
}

fn activation(activation: nb_checkpoint::Activation) -> Activation {
    match activation {
        nb_checkpoint::Activation::Gelu => Activation::Gelu,
        nb_checkpoint::Activation::GeluNew => Activation::GeluTanh,
        nb_checkpoint::Activation::Relu => Activation::Relu,
        nb_checkpoint::Activation::Silu => Activation::Silu,
    }
}
