//! A dense layer y = x Wᵀ + b over packed rows, with its gradients added straight into the arena.

use nb_torch::Then;
use tch::{Kind, Tensor};

use super::accumulate::{add, add_rows};
use super::activation::{ActivationTape, TensorActivation};
use super::{dots, few_rows, onednn};
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
        forward(x, &self.weight, &self.bias)
    }

    /// `x` [n, in] → [n, out] and then through the activation, where nothing is needed of what comes before it.
    pub(crate) fn activated(&self, x: &Tensor, activation: Activation) -> Tensor {
        let scope = scope(Phase::Linear);
        match dots::of(x, &self.weight) {
            Some(dots) => dots.activated(x, &self.weight, &self.bias, activation),
            None if onednn::pays(x) => onednn::forward(x, &self.weight, &self.bias, activation.after_product()),
            None => {
                drop(scope);
                activation.forward(&self.forward(x))
            }
        }
    }

    /// As [`Linear::activated`], with what [`Linear::backward_through`] of the next layer needs.
    pub(crate) fn activated_with_tape(&self, x: &Tensor, activation: Activation) -> (Tensor, ActivationTape) {
        if let Some(dots) = dots::of(x, &self.weight) {
            let _scope = scope(Phase::Linear);
            let (y, slope) = dots.activated_with_slope(x, &self.weight, &self.bias, activation);
            return (y, ActivationTape::Slope(slope));
        }
        let before = self.forward(x);
        (activation.forward(&before), ActivationTape::Before(before))
    }

    /// From dL/dy `grad` [n, out] and the layer's input `x` [n, in]: adds dL/dW and dL/db to the arena, returns dL/dx.
    pub(crate) fn backward(&self, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        match dots::of(grad, &self.weight) {
            Some(dots) => dots.input_grad(grad, &self.weight),
            None if onednn::pays(grad) => onednn::input_grad(grad, &self.weight),
            None => grad.matmul(&self.weight),
        }
    }

    /// As [`Linear::backward`], where `x` is f(u); returns dL/du.
    pub(crate) fn backward_through(&self, f: Activation, tape: &ActivationTape, grad: &Tensor, x: &Tensor) -> Tensor {
        match (tape, dots::of(grad, &self.weight)) {
            (ActivationTape::Slope(slope), Some(dots)) => {
                let _scope = scope(Phase::Linear);
                self.accumulate(grad, x);
                dots.input_grad_through(grad, &self.weight, slope)
            }
            (ActivationTape::Slope(slope), None) => self.backward(grad, x) * slope,
            (ActivationTape::Before(before), _) => f.backward(&self.backward(grad, x), before),
        }
    }

    /// As [`Linear::backward`], added to `residual` (f32, as it lies in memory), the gradient of `x` by another way.
    pub(crate) fn backward_onto(&self, residual: Tensor, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        let mut residual = residual;
        match dots::of(grad, &self.weight) {
            Some(dots) => dots.add_input_grad(&mut residual, grad, &self.weight),
            None if grad.kind() == Kind::Float => return residual.addmm_(grad, &self.weight),
            None if onednn::pays(grad) => add(&residual, &onednn::input_grad(grad, &self.weight)),
            None => add(&residual, &grad.matmul(&self.weight)),
        }
        residual
    }

    fn accumulate(&self, grad: &Tensor, x: &Tensor) {
        let (mut weight_grad, mut bias_grad) = (self.weight_grad.shallow_clone(), self.bias_grad.shallow_clone());
        match dots::of(grad, &self.weight) {
            Some(dots) => return dots.add_parameter_grads(grad, x, &mut weight_grad, &mut bias_grad),
            None if grad.kind() == Kind::Float => drop(weight_grad.addmm_(&grad.tr(), x)),
            // The product runs in the low precision; what accumulates is f32.
            None => add(&weight_grad, &grad.tr().matmul(x)),
        }
        add_rows(&bias_grad, grad);
    }
}

/// `x` Wᵀ + b, [n, out]; not recorded by autograd.
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let _scope = scope(Phase::Linear);
    match dots::of(x, weight) {
        Some(dots) => dots.forward(x, weight, bias),
        None if few_rows::pays(x) => few_rows::forward(x, weight, bias),
        None if onednn::pays(x) => onednn::forward(x, weight, bias, Then::Nothing),
        None => tch::no_grad(|| x.linear(weight, Some(bias))),
    }
}
