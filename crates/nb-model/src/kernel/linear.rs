//! A dense layer y = x Wᵀ + b over packed rows, with its gradients added straight into the arena.

use nb_torch::Then;
use tch::{Kind, Tensor};

use super::accumulate::{add, add_rows};
use super::activation::ActivationTape;
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
        let _scope = scope(Phase::Linear);
        match () {
            () if dots::pays(x, &self.weight) => dots::forward(x, &self.weight, &self.bias),
            () if few_rows::pays(x) => few_rows::forward(x, &self.weight, &self.bias),
            () if onednn::pays(x) => onednn::forward(x, &self.weight, &self.bias, Then::Nothing),
            () => x.linear(&self.weight, Some(&self.bias)),
        }
    }

    /// `x` [n, in] → [n, out] and then through the activation, where nothing is needed of what comes before it.
    pub(crate) fn activated(&self, x: &Tensor, activation: Activation) -> Tensor {
        let scope = scope(Phase::Linear);
        match () {
            () if dots::pays(x, &self.weight) => dots::activated(x, &self.weight, &self.bias, activation),
            () if onednn::pays(x) => onednn::forward(x, &self.weight, &self.bias, activation.after_product()),
            () => {
                drop(scope);
                activation.forward(&self.forward(x))
            }
        }
    }

    /// As [`Linear::activated`], with what [`Linear::backward_through`] of the next layer needs.
    pub(crate) fn activated_with_tape(&self, x: &Tensor, activation: Activation) -> (Tensor, ActivationTape) {
        if dots::pays(x, &self.weight) {
            let _scope = scope(Phase::Linear);
            let (y, slope) = dots::activated_with_slope(x, &self.weight, &self.bias, activation);
            return (y, ActivationTape::Slope(slope));
        }
        let before = self.forward(x);
        (activation.forward(&before), ActivationTape::Before(before))
    }

    /// From dL/dy `grad` [n, out] and the layer's input `x` [n, in]: adds dL/dW and dL/db to the arena, returns dL/dx.
    pub(crate) fn backward(&self, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        match () {
            () if dots::pays(grad, &self.weight) => dots::input_grad(grad, &self.weight),
            () if onednn::pays(grad) => onednn::input_grad(grad, &self.weight),
            () => grad.matmul(&self.weight),
        }
    }

    /// As [`Linear::backward`], where `x` is f(u); returns dL/du.
    pub(crate) fn backward_through(&self, f: Activation, tape: &ActivationTape, grad: &Tensor, x: &Tensor) -> Tensor {
        match tape {
            // Made by these products, so this one is theirs too: it has as many rows, and the same widths.
            ActivationTape::Slope(slope) => {
                let _scope = scope(Phase::Linear);
                self.accumulate(grad, x);
                dots::input_grad_through(grad, &self.weight, slope)
            }
            ActivationTape::Before(before) => f.backward(&self.backward(grad, x), before),
        }
    }

    /// As [`Linear::backward`], added to `residual` (f32), the gradient of `x` by another way.
    pub(crate) fn backward_onto(&self, residual: Tensor, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        let mut residual = residual;
        match (grad.kind(), onednn::pays(grad)) {
            _ if dots::pays(grad, &self.weight) => dots::add_input_grad(&mut residual, grad, &self.weight),
            (Kind::Float, true) => return onednn::input_grad_onto(&residual, grad, &self.weight),
            (Kind::Float, false) => return residual.addmm_(grad, &self.weight),
            (_, true) => add(&residual, &onednn::input_grad(grad, &self.weight)),
            (_, false) => add(&residual, &grad.matmul(&self.weight)),
        }
        residual
    }

    fn accumulate(&self, grad: &Tensor, x: &Tensor) {
        let (mut weight_grad, mut bias_grad) = (self.weight_grad.shallow_clone(), self.bias_grad.shallow_clone());
        match () {
            () if dots::pays(grad, &self.weight) => {
                dots::add_parameter_grads(grad, x, &mut weight_grad, &mut bias_grad);
            }
            // The product runs in the low precision; what accumulates is f32.
            () if grad.kind() != Kind::Float => {
                add(&weight_grad, &grad.tr().matmul(x));
                add_rows(&bias_grad, grad);
            }
            () if onednn::pays(grad) => {
                let (weight, bias) = onednn::parameter_grads(grad, x, &self.weight);
                let _ = (weight_grad.g_add_(&weight), bias_grad.g_add_(&bias));
            }
            () => {
                let _ = weight_grad.addmm_(&grad.tr(), x);
                add_rows(&bias_grad, grad);
            }
        }
    }
}

/// tanh(`x` Wᵀ + b), [n, out], with autograd where that is on.
pub(crate) fn tanh_of_dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    // A view of a leaf is part of a graph where autograd is on.
    let is_recorded = x.requires_grad() || weight.view_as(weight).requires_grad();
    match is_recorded {
        true if onednn::pays(x) => onednn::recorded(x, weight, bias).tanh(),
        false if onednn::pays(x) => onednn::forward(x, weight, bias, Then::Tanh),
        false if few_rows::pays(x) => few_rows::forward(x, weight, bias).tanh_(),
        _ => x.linear(weight, Some(bias)).tanh(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Numbers between −1 and 1 that no other test's random generator can disturb.
    fn numbers(size: &[i64], shift: f64) -> Tensor {
        (Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)) * 0.7 + shift).sin().view(size)
    }

    #[track_caller]
    fn assert_close(found: &Tensor, expected: &Tensor) {
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < 1e-5 * expected.abs().max().double_value(&[]), "off by {off}");
    }

    #[test]
    fn a_dense_layer_with_tanh_is_libtorchs_with_its_gradients() {
        for rows in [3, 40, 60] {
            let run = |f: &dyn Fn(&Tensor, &Tensor, &Tensor) -> Tensor| {
                let parts = [numbers(&[rows, 20], 0.0), numbers(&[30, 20], 1.0), numbers(&[30], 2.0)];
                let parts = parts.map(|part| part.set_requires_grad(true));
                let y = f(&parts[0], &parts[1], &parts[2]);
                (&y * numbers(&[rows, 30], 3.0)).sum(Kind::Float).backward();
                [y.detach()].into_iter().chain(parts.map(|part| part.grad())).collect::<Vec<_>>()
            };
            let (found, expected) = (run(&tanh_of_dense), run(&|x, weight, bias| x.linear(weight, Some(bias)).tanh()));
            found.iter().zip(&expected).for_each(|(found, expected)| assert_close(found, expected));
            let unrecorded =
                || tanh_of_dense(&numbers(&[rows, 20], 0.0), &numbers(&[30, 20], 1.0), &numbers(&[30], 2.0));
            assert_close(&tch::no_grad(unrecorded), &expected[0]);
        }
    }
}
