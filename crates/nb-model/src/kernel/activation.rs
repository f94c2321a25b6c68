//! The activations of the feed-forward layer and their derivatives.

use nb_torch::Then;
use tch::Tensor;

use crate::config::Activation;

/// What the backward pass of an activation y = f(u) needs, in the shape of u.
#[derive(Debug)]
pub(crate) enum ActivationTape {
    /// u
    Before(Tensor),
    /// f′(u)
    Slope(Tensor),
}

/// An activation over tensors.
pub(crate) trait TensorActivation {
    /// f(x), entry by entry.
    fn forward(self, x: &Tensor) -> Tensor;

    /// The same behind a product of oneDNN's.
    fn after_product(self) -> Then;

    /// f′(x) · `grad`.
    fn backward(self, grad: &Tensor, x: &Tensor) -> Tensor;
}

impl TensorActivation for Activation {
    fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::GeluNew => x.gelu("tanh"),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
        }
    }

    fn after_product(self) -> Then {
        match self {
            Self::Gelu => Then::Gelu,
            Self::GeluNew => Then::GeluTanh,
            Self::Relu => Then::Relu,
            Self::Silu => Then::Silu,
        }
    }

    fn backward(self, grad: &Tensor, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu_backward(grad, "none"),
            Self::GeluNew => x.gelu_backward(grad, "tanh"),
            Self::Relu => x.threshold_backward(grad, 0.0),
            Self::Silu => x.silu_backward(grad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn each_derivative_is_autograds() {
        let x = Tensor::linspace(-4.0, 4.0, 41, (Kind::Double, tch::Device::Cpu)).set_requires_grad(true);
        let grad = Tensor::linspace(1.0, 2.0, 41, (Kind::Double, tch::Device::Cpu));
        for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
            let loss = (activation.forward(&x) * &grad).sum(Kind::Double);
            let expected = &Tensor::run_backward(&[loss], &[&x], false, false)[0];
            assert!(activation.backward(&grad, &x).allclose(expected, 1e-12, 1e-12, false), "{activation:?}");
        }
    }
}
