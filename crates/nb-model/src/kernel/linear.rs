//! A dense layer y = x Wᵀ + b over packed rows, with its gradients added straight into the arena.

use nb_torch::Then;
use tch::{Kind, Tensor};

use super::accumulate::{add, add_rows};
use super::{few_rows, onednn};
use crate::config::Activation;
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
            () if onednn::pays(x) => onednn::forward(x, &self.weight, &self.bias, Then::Nothing),
            () => x.linear(&self.weight, Some(&self.bias)),
        }
    }

    /// `x` [n, in] → [n, out] and then through the activation, where nothing is needed of what comes before it.
    pub(crate) fn activated(&self, x: &Tensor, activation: Activation) -> Tensor {
        if !onednn::pays(x) {
            return activation.forward(&self.forward(x));
        }
        let _scope = scope(Phase::Linear);
        onednn::forward(x, &self.weight, &self.bias, activation.after_product())
    }

    /// From dL/dy `grad` [n, out] and the layer's input `x` [n, in]: adds dL/dW and dL/db to the arena, returns dL/dx.
    pub(crate) fn backward(&self, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        if onednn::pays(grad) { onednn::input_grad(grad, &self.weight) } else { grad.matmul(&self.weight) }
    }

    /// As [`Linear::backward`], added to `residual` (f32), the gradient of `x` by another way.
    pub(crate) fn backward_onto(&self, residual: Tensor, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        let mut residual = residual;
        match (grad.kind(), onednn::pays(grad)) {
            (Kind::Float, true) => return onednn::input_grad_onto(&residual, grad, &self.weight),
            (Kind::Float, false) => return residual.addmm_(grad, &self.weight),
            (_, true) => add(&residual, &onednn::input_grad(grad, &self.weight)),
            (_, false) => add(&residual, &grad.matmul(&self.weight)),
        }
        residual
    }

    fn accumulate(&self, grad: &Tensor, x: &Tensor) {
        if grad.kind() != Kind::Float {
            // The product runs in the low precision; what accumulates is f32.
            add(&self.weight_grad, &grad.tr().matmul(x));
            return add_rows(&self.bias_grad, grad);
        }
        if onednn::pays(grad) {
            let (weight, bias) = onednn::parameter_grads(grad, x, &self.weight);
            let _ = self.weight_grad.shallow_clone().g_add_(&weight);
            let _ = self.bias_grad.shallow_clone().g_add_(&bias);
            return;
        }
        let _ = self.weight_grad.shallow_clone().addmm_(&grad.tr(), x);
        add_rows(&self.bias_grad, grad);
    }
}
