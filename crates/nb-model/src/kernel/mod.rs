//! The operations that the encoder is made of, each with its forward and its backward.
//!
//! Where a fused kernel of this crate runs on the CPU, the same file (for products: `linear.rs`) holds the plain libtorch form,
//! which other devices use and which the kernel is tested against.

mod accumulate;
pub(crate) mod activation;
pub(crate) mod attention;
mod dots;
pub(crate) mod dropout;
mod few_rows;
pub(crate) mod linear;
pub(crate) mod norm;
mod onednn;
pub(crate) mod panels;
pub(crate) mod simd;

/// Rows from which on products pay that rearrange the weights first.
const FEWEST_ROWS: i64 = 48;

/// The kernels for the crate's own benches; nothing else is to use them.
#[doc(hidden)]
pub mod bench {
    use tch::{Kind, Tensor};

    use super::activation::TensorActivation;
    use super::attention;
    use super::dropout::Dropout;
    use super::linear::Linear;
    use super::norm::LayerNorm;
    use crate::config::Activation;
    use crate::encoder::Capture;
    use crate::packed::Packed;

    /// Attention forward and backward, with dropout of 0.1; queries, keys and values [n, 3H], gradient [n, H]. With
    /// [`Capture::Scores`] it is the plain form, which shows them.
    pub fn attention(qkv: &Tensor, grad: &Tensor, packed: &Packed, heads: i64, capture: Capture) -> (Tensor, Tensor) {
        let dropout = |i: usize| Dropout::new(0.1, Some(i as u64));
        let (out, tape) = attention::forward(qkv, packed, heads, dropout, capture);
        let back = attention::backward((grad, None), packed, heads, dropout, &tape);
        (out, back)
    }

    /// Whether attention goes by FlashAttention; `qkv` [n, 3H].
    pub fn is_flash(qkv: &Tensor, heads: i64) -> bool {
        attention::fits_flash(qkv, heads)
    }

    /// LayerNorm of a sum forward and backward, [n, H].
    pub fn layer_norm(x: &Tensor, residual: &Tensor) -> (Tensor, Tensor) {
        let vector = || Tensor::ones([x.size()[1]], (Kind::Float, x.device()));
        let norm =
            LayerNorm { weight: vector(), bias: vector(), weight_grad: vector(), bias_grad: vector(), eps: 1e-12 };
        let (out, tape) = norm.forward(x.shallow_clone(), None, residual);
        let (back, _) = norm.backward(&out.wide, &tape, None, Kind::Float);
        (out.wide, back)
    }

    /// GELU and its derivative times `grad`, [n, F].
    pub fn gelu(x: &Tensor, grad: &Tensor) -> (Tensor, Tensor) {
        (Activation::Gelu.forward(x), Activation::Gelu.backward(grad, x))
    }

    /// A dense layer forward, `x` [n, in] and `weight` [out, in].
    pub fn linear(x: &Tensor, weight: &Tensor) -> Tensor {
        layer(weight).forward(x)
    }

    /// Its backward pass from `grad` [n, out], with gradients of the weights that add up in f32.
    pub fn linear_backward(grad: &Tensor, x: &Tensor, weight: &Tensor) -> Tensor {
        layer(weight).backward(grad, x)
    }

    fn layer(weight: &Tensor) -> Linear {
        let grads = |of: &Tensor| Tensor::zeros(of.size(), (Kind::Float, of.device()));
        let bias = Tensor::zeros([weight.size()[0]], (weight.kind(), weight.device()));
        let (weight_grad, bias_grad) = (grads(weight), grads(&bias));
        Linear { weight: weight.shallow_clone(), bias, weight_grad, bias_grad }
    }

    /// Dropout in place.
    pub fn dropout(x: &mut Tensor) {
        if let Some(dropout) = Dropout::new(0.1, Some(1)) {
            dropout.apply(x);
        }
    }
}
