//! A dense layer y = x Wᵀ + b over packed rows, with its gradients added straight into the arena.

use nb_kernels::Activation;
use nb_kernels::gemm::{Matrix, skinny};
use nb_torch::Then;
use nb_torch::cpu_slices::{read, with_slices, write};
use tch::{Device, Kind, Tensor};

use super::accumulate::{add, add_rows};
use super::activation::{self, ActivationTape};
pub use super::grads::Grads;
use super::{gemm, onednn, pieces};
use crate::profile::{Phase, scope};

/// Views of one dense layer: weights in the precision of the products, gradients in f32.
#[derive(Debug)]
pub struct Linear {
    /// W [out, in].
    pub weight: Tensor,
    /// b \[out\].
    pub bias: Tensor,
    /// `None` if the layer is not trained.
    pub grads: Option<Grads>,
}

impl Linear {
    /// Maps `x` [n, in] to [n, out].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        forward(x, &self.weight, &self.bias)
    }

    /// Maps `x` [n, in] to [n, out] and applies the activation, without a tape for a backward pass.
    pub(crate) fn activated(&self, x: &Tensor, f: Activation) -> Tensor {
        let scope = scope(Phase::Linear);
        match gemm::select(x, &self.weight) {
            Some(gemm) => gemm.activated(x, &self.weight, &self.bias, f),
            None if onednn::is_faster(x) => onednn::forward(x, &self.weight, &self.bias, activation::post_op(f)),
            None => {
                drop(scope);
                activation::forward(f, &self.forward(x))
            }
        }
    }

    /// Does the same as [`Linear::activated`], and returns the tape for [`Linear::backward_through`] of the next layer.
    pub(crate) fn activated_with_tape(&self, x: &Tensor, f: Activation) -> (Tensor, ActivationTape) {
        if let Some(gemm) = gemm::select(x, &self.weight) {
            let _scope = scope(Phase::Linear);
            let (y, slope) = gemm.activated_with_slope(x, &self.weight, &self.bias, f);
            return (y, ActivationTape::Slope(slope));
        }
        let before = self.forward(x);
        (activation::forward(f, &before), ActivationTape::Before(before))
    }

    /// Adds dL/dW and dL/db to the arena if the layer is trained, and returns dL/dx, from dL/dy `grad` [n, out] and the layer's
    /// input `x` [n, in].
    pub fn backward(&self, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        match gemm::select(grad, &self.weight) {
            Some(gemm) => gemm.input_grad(grad, &self.weight),
            None if onednn::is_faster(grad) => onednn::input_grad(grad, &self.weight),
            None => input_grad(grad, &self.weight),
        }
    }

    /// Does the same as [`Linear::backward`] where `x` is f(u), but returns dL/du.
    pub(crate) fn backward_through(&self, f: Activation, tape: &ActivationTape, grad: &Tensor, x: &Tensor) -> Tensor {
        match (tape, gemm::select(grad, &self.weight)) {
            (ActivationTape::Slope(slope), Some(gemm)) => {
                let _scope = scope(Phase::Linear);
                self.accumulate(grad, x);
                gemm.input_grad_through(grad, &self.weight, slope)
            }
            (ActivationTape::Slope(slope), None) => self.backward(grad, x) * slope,
            (ActivationTape::Before(before), _) => activation::backward(f, &self.backward(grad, x), before),
        }
    }

    /// Does the same as [`Linear::backward`], but adds dL/dx to `residual` (f32, contiguous), the gradient of `x` along another
    /// path.
    pub(crate) fn backward_onto(&self, residual: Tensor, grad: &Tensor, x: &Tensor) -> Tensor {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
        let mut residual = residual;
        match gemm::select(grad, &self.weight) {
            Some(gemm) => gemm.add_input_grad(&mut residual, grad, &self.weight),
            None if grad.kind() == Kind::Float => {
                pieces::add_rows(&residual, grad, &self.weight, |sum, grad, weight| _ = sum.addmm_(grad, weight));
            }
            None if onednn::is_faster(grad) => add(&residual, &onednn::input_grad(grad, &self.weight)),
            None => add(&residual, &input_grad(grad, &self.weight)),
        }
        residual
    }

    /// Does the same as [`Linear::backward`], but computes no dL/dx.
    pub(crate) fn backward_parameters(&self, grad: &Tensor, x: &Tensor) {
        let _scope = scope(Phase::Linear);
        self.accumulate(grad, x);
    }

    fn accumulate(&self, grad: &Tensor, x: &Tensor) {
        let Some(Grads { weight, bias }) = &self.grads else { return };
        let (mut weight_grad, mut bias_grad) = (weight.shallow_clone(), bias.shallow_clone());
        match gemm::select(grad, &self.weight) {
            Some(gemm) => return gemm.add_parameter_grads(grad, x, &mut weight_grad, &mut bias_grad),
            None if grad.kind() == Kind::Float => {
                pieces::add_rows(&weight_grad, &grad.tr(), x, |sum, grad, x| _ = sum.addmm_(grad, x));
            }
            // The product runs in the low precision; the sum is f32.
            None => pieces::add_rows(&weight_grad, &grad.tr(), x, |sum, grad, x| add(sum, &grad.matmul(x))),
        }
        add_rows(&bias_grad, grad);
    }
}

/// Returns `x` Wᵀ + b, [n, out], by the fastest kernel for the shape and the machine. Autograd does not record it.
///
/// ```
/// use tch::Tensor;
/// let x = Tensor::from_slice(&[1f32, 2.0]).view([1, 2]);
/// let weight = Tensor::from_slice(&[1f32, 0.0, 3.0, 1.0]).view([2, 2]);
/// let y = nb_model::kernel::linear::forward(&x, &weight, &Tensor::from_slice(&[0.5f32, 0.0]));
/// assert_eq!(Vec::<f32>::try_from(y.view(-1)).unwrap(), [1.5, 5.0]);
/// ```
pub fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let _scope = scope(Phase::Linear);
    match gemm::select(x, weight) {
        Some(gemm) => gemm.forward(x, weight, bias),
        None if is_skinny(x) => forward_skinny(x, weight, bias),
        None if onednn::is_faster(x) => onednn::forward(x, weight, bias, Then::Nothing),
        None => {
            let operands = |first, count| [weight, bias].map(|rows| rows.narrow(0, first, count));
            pieces::columns(x, weight.size()[0], operands, |x, [weight, bias]| x.linear(weight, Some(bias)))
        }
    }
}

/// Returns `grad` W, by libtorch.
fn input_grad(grad: &Tensor, weight: &Tensor) -> Tensor {
    let operands = |first, count| [weight.narrow(1, first, count)];
    pieces::columns(grad, weight.size()[1], operands, |grad, [weight]| grad.matmul(weight))
}

/// Returns true if `x` [n, in] has so few rows that [`skinny`] is faster than libtorch.
fn is_skinny(x: &Tensor) -> bool {
    (1..=skinny::MOST_ROWS as i64).contains(&x.size()[0]) && x.kind() == Kind::Float && x.device() == Device::Cpu
}

fn forward_skinny(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let (inputs, outputs) = (weight.size()[1], weight.size()[0]);
    let mut out = Tensor::empty([x.size()[0], outputs], (Kind::Float, Device::Cpu));
    let x = x.contiguous();
    with_slices(([&x, weight, bias].map(read::<f32>), write::<f32>(&mut out)), |([x, weight, bias], out)| {
        let matrix = |entries| Matrix { entries, columns: inputs as usize };
        skinny::linear(matrix(x), matrix(weight), bias, out);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers numbers of rows around a register's width, and numbers of outputs that do not fill tiles. Every sum of small
    /// integers is exact.
    #[test]
    fn products_of_few_rows_match_libtorch() {
        let integers = |rows: i64, columns: i64, factor: i64| {
            let all = Tensor::arange(rows * columns, (Kind::Int64, Device::Cpu)) * factor;
            (all.remainder(11) - 5).to_kind(Kind::Float).view([rows, columns])
        };
        for (rows, inputs, outputs) in [(1, 7, 3), (9, 48, 200), (16, 33, 96), (17, 5, 97), (32, 64, 1)] {
            let (x, weight) = (integers(rows, inputs, 7), integers(outputs, inputs, 3));
            let bias = integers(1, outputs, 5).view([outputs]);
            assert!(is_skinny(&x));
            let expected = x.linear(&weight, Some(&bias));
            assert!(forward_skinny(&x, &weight, &bias).equal(&expected), "{rows} {inputs} {outputs}");
            assert!(forward_skinny(&x.tr().contiguous().tr(), &weight, &bias).equal(&expected));
        }
    }

    #[test]
    fn no_rows_many_rows_and_other_kinds_are_not_skinny() {
        let rows = |n: i64| Tensor::zeros([n, 4], (Kind::Float, Device::Cpu));
        let most = skinny::MOST_ROWS as i64;
        assert!(!is_skinny(&rows(0)) && !is_skinny(&rows(most + 1)) && !is_skinny(&rows(4).to_kind(Kind::BFloat16)));
    }
}
