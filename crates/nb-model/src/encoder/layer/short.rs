//! One short text through a layer on the CPU, as a model at work has it: no tensors, no tape, four parallel pieces of work.
//!
//! The products of a title of twelve tokens take no longer than the calls into libtorch that some sixty small tensors need. Here
//! the rows are plain numbers from the embeddings to the last state. All products are f32, also of a model in bf16: its weights
//! are widened once, and what comes out is nearer to what they stand for.

use super::{Layer, Linear};
use crate::kernel::attention;
use crate::kernel::norm::{LayerNorm, normalise_sum};
use crate::kernel::panels::{Panels, numbers};
use crate::profile::{Phase, scope};

/// A layer's weights, rearranged.
#[derive(Debug)]
pub(crate) struct ShortLayer {
    heads: usize,
    qkv: Panels,
    attention_out: Panels,
    attention_norm: Norm,
    up: Panels,
    down: Panels,
    out_norm: Norm,
}

/// What layers work in, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Room {
    blocks: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    branch: Vec<f32>,
    wide: Vec<f32>,
}

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f64,
}

impl Norm {
    fn new(norm: &LayerNorm) -> Self {
        Self { weight: numbers(&norm.weight), bias: numbers(&norm.bias), eps: norm.eps }
    }

    /// `x` becomes LN(x + branch).
    fn add(&self, x: &mut [f32], branch: &[f32]) {
        let _scope = scope(Phase::Elementwise);
        normalise_sum(x, branch, (&self.weight, &self.bias), self.eps);
    }
}

impl ShortLayer {
    pub(crate) fn new(layer: &Layer) -> Self {
        let panels = |linear: &Linear, activation| Panels::new(&linear.weight, &linear.bias, activation);
        Self {
            heads: layer.heads as usize,
            qkv: panels(&layer.qkv, None),
            attention_out: panels(&layer.attention_out, None),
            attention_norm: Norm::new(&layer.attention_norm),
            up: panels(&layer.up, Some(layer.activation)),
            down: panels(&layer.down, None),
            out_norm: Norm::new(&layer.out_norm),
        }
    }

    /// `x` [n, H], the tokens of one text, becomes the layer's output.
    pub(crate) fn forward(&self, x: &mut [f32], room: &mut Room) {
        let hidden = self.attention_out.outputs();
        let rows = x.len() / hidden;
        let Room { blocks, qkv, context, branch, wide } = room;
        qkv.resize(rows * 3 * hidden, 0.0);
        context.resize(rows * hidden, 0.0);
        branch.resize(rows * hidden, 0.0);
        wide.resize(rows * self.up.outputs(), 0.0);

        let product = |panels: &Panels, x: &[f32], blocks: &mut Vec<f32>, out: &mut [f32]| {
            let _scope = scope(Phase::Linear);
            panels.forward(x, blocks, out);
        };
        product(&self.qkv, x, blocks, qkv);
        {
            let _scope = scope(Phase::Attention);
            attention::forward_one(qkv, context, (hidden, self.heads));
        }
        product(&self.attention_out, context, blocks, branch);
        self.attention_norm.add(x, branch);

        product(&self.up, x, blocks, wide);
        product(&self.down, wide, blocks, branch);
        self.out_norm.add(x, branch);
    }
}
