//! A dense layer y = x Wᵀ + b over packed rows, with its gradients added straight into the arena.

use tch::{Kind, Tensor};

use super::accumulate::{add, add_rows};
use super::{few_rows, onednn};
use crate::profile::{Phase, scope};

/// Views of one dense layer: weights in the precision of the products, gradients in f32.
#[derive(Debug)]
pub(crate) struct Linear {
    /// [out, in]
    pub(crate) weight: Tensor,
    /// \[out\]
    pub(crate) bias: Tensor,
    /// [out, in], f32
    pub(crate) weight_grad: Tensor,
    /// \[out\], f32
    pub(crate) bias_grad: Tensor,
}

impl Linear {
    /// `x` [n, in] → [n, out].
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        match () {
            () if few_rows::pays(x) => few_rows::forward(x, &self.weight, &self.bias),
            () if onednn::pays(x) => onednn::forward(x, &self.weight, &self.bias),
            () => x.linear(&self.weight, Some(&self.bias)),
        }
    }

    /// From dL/dy `grad` [n, out] and the layer's input `x` [n, in]: adds dL/dW and dL/db to the arena, returns dL/dx.
    pub(crate) fn backward(&self, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        if onednn::pays(x) {
            return self.backward_onednn(grad, x);
        }
        self.accumulate(grad, x);
        grad.matmul(&self.weight)
    }

    /// As [`Linear::backward`], added to `residual` (f32), the gradient of `x` by another way.
    pub(crate) fn backward_onto(&self, residual: Tensor, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        let mut residual = residual;
        if onednn::pays(x) {
            return residual.g_add_(&self.backward_onednn(grad, x));
        }
        self.accumulate(grad, x);
        if grad.kind() == Kind::Float {
            return residual.addmm_(grad, &self.weight);
        }
        add(&residual, &grad.matmul(&self.weight));
        residual
    }

    fn backward_onednn(&self, grad: &Tensor, x: &Tensor) -> Tensor {
        let [input, weight, bias] = onednn::backward(grad, x, &self.weight);
        let _ = self.weight_grad.shallow_clone().g_add_(&weight);
        let _ = self.bias_grad.shallow_clone().g_add_(&bias);
        input
    }

    fn accumulate(&self, grad: &Tensor, x: &Tensor) {
        if grad.kind() == Kind::Float {
            let _ = self.weight_grad.shallow_clone().addmm_(&grad.tr(), x);
        } else {
            // The product runs in the low precision; what accumulates is f32.
            add(&self.weight_grad, &grad.tr().matmul(x));
        }
        add_rows(&self.bias_grad, grad);
    }
}
