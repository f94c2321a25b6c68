//! The gradients of the parameters of a dense layer or of a LayerNorm.

use tch::Tensor;

use crate::arena::Arena;

/// Views of the gradients of a weight and a bias, in their shapes, f32.
#[derive(Debug)]
pub struct Grads {
    /// dL/dW.
    pub weight: Tensor,
    /// dL/db.
    pub bias: Tensor,
}

impl Grads {
    /// Returns the views of two parameters' gradients; `None` unless both are trained.
    pub(crate) fn in_arena(arena: &Arena, weight: &str, bias: &str) -> Option<Self> {
        Some(Self { weight: arena.trained_grad(weight)?, bias: arena.trained_grad(bias)? })
    }
}
