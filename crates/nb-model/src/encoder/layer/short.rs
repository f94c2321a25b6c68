//! The forward pass of a layer for one short text on the CPU, the common case in production: no tensors, no tape, four parallel
//! products.
//!
//! The products of a title of twelve tokens take no longer than the calls into libtorch for about sixty small tensors. Here the
//! rows are plain slices from the embeddings to the last state. All products are f32, even in a bf16 model: its weights are
//! widened, and the result is closer to the exact one.

use half::bf16;
use nb_kernels::attention::{Heads, forward_one};
use nb_kernels::gemm::{Matrix, PackedLinear};
use nb_kernels::layer_norm::{Parameters, normalise_sum};
use nb_kernels::{Activation, Float};
use nb_torch::cpu_slices::{TensorElement, read, with_slices};
use tch::{Kind, Tensor};

use super::Layer;
use crate::kernel::layer_norm::LayerNorm;
use crate::kernel::linear::Linear;
use crate::profile::{Phase, scope};

/// A layer's weights, packed for few rows.
#[derive(Debug)]
pub(crate) struct ShortLayer {
    heads: usize,
    qkv: PackedLinear,
    attention_out: PackedLinear,
    attention_norm: Norm,
    up: PackedLinear,
    down: PackedLinear,
    out_norm: Norm,
}

/// The buffers that layers reuse, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    product: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    branch: Vec<f32>,
    feed_forward: Vec<f32>,
}

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f64,
}

impl Norm {
    fn new(norm: &LayerNorm) -> Self {
        Self { weight: to_vec(&norm.weight), bias: to_vec(&norm.bias), eps: norm.eps }
    }

    /// Replaces `x` by LN(x + branch).
    fn add(&self, x: &mut [f32], branch: &[f32]) {
        let _scope = scope(Phase::Elementwise);
        normalise_sum(x, branch, &Parameters { weight: &self.weight, bias: &self.bias, eps: self.eps });
    }
}

impl ShortLayer {
    pub(crate) fn new(layer: &Layer) -> Self {
        Self {
            heads: layer.heads as usize,
            qkv: pack(&layer.qkv, None),
            attention_out: pack(&layer.attention_out, None),
            attention_norm: Norm::new(&layer.attention_norm),
            up: pack(&layer.up, Some(layer.activation)),
            down: pack(&layer.down, None),
            out_norm: Norm::new(&layer.out_norm),
        }
    }

    /// Replaces `x` [n, H], the tokens of one text, by the layer's output.
    pub(crate) fn forward(&self, x: &mut [f32], scratch: &mut Scratch) {
        let hidden = self.attention_out.outputs();
        let rows = x.len() / hidden;
        let Scratch { product, qkv, context, branch, feed_forward } = scratch;
        qkv.resize(rows * 3 * hidden, 0.0);
        context.resize(rows * hidden, 0.0);
        branch.resize(rows * hidden, 0.0);
        feed_forward.resize(rows * self.up.outputs(), 0.0);

        multiply(&self.qkv, x, product, qkv);
        {
            let _scope = scope(Phase::Attention);
            forward_one(qkv, Heads::new(hidden, self.heads), context);
        }
        multiply(&self.attention_out, context, product, branch);
        self.attention_norm.add(x, branch);

        multiply(&self.up, x, product, feed_forward);
        multiply(&self.down, feed_forward, product, branch);
        self.out_norm.add(x, branch);
    }
}

fn multiply(layer: &PackedLinear, x: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
    let _scope = scope(Phase::Linear);
    layer.forward(x, scratch, out);
}

/// Packs a layer's weights, in the precision of the products.
fn pack(linear: &Linear, activation: Option<Activation>) -> PackedLinear {
    fn packed<T: TensorElement + Float>(linear: &Linear, activation: Option<Activation>) -> PackedLinear {
        let columns = linear.weight.size()[1] as usize;
        let (weight, bias) = (linear.weight.contiguous(), linear.bias.contiguous());
        with_slices([&weight, &bias].map(read::<T>), |[entries, bias]| {
            PackedLinear::new(Matrix { entries, columns }, bias, activation)
        })
    }
    match linear.weight.kind() {
        Kind::BFloat16 => packed::<bf16>(linear, activation),
        _ => packed::<f32>(linear, activation),
    }
}

/// Copies the entries of an f32 tensor.
pub(crate) fn to_vec(tensor: &Tensor) -> Vec<f32> {
    with_slices(read::<f32>(&tensor.contiguous()), <[f32]>::to_vec)
}
