//! The activations of the feed-forward layer and their derivatives, by libtorch.

use nb_kernels::Activation;
use nb_torch::Then;
use tch::Tensor;

use super::pieces;

/// The input of an activation's backward pass, in the shape of u, for y = f(u).
#[derive(Debug)]
pub(crate) enum ActivationTape {
    /// u
    Before(Tensor),
    /// f′(u)
    Slope(Tensor),
}

/// Computes f(x), entry by entry.
pub(crate) fn forward(activation: Activation, x: &Tensor) -> Tensor {
    pieces::map(x, [], |x, []| match activation {
        Activation::Gelu => x.gelu("none"),
        Activation::GeluTanh => x.gelu("tanh"),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
    })
}

/// Returns the activation as a post-op of oneDNN's products.
pub(crate) fn post_op(activation: Activation) -> Then {
    match activation {
        Activation::Gelu => Then::Gelu,
        Activation::GeluTanh => Then::GeluTanh,
        Activation::Relu => Then::Relu,
        Activation::Silu => Then::Silu,
    }
}

/// Computes f′(x) · `grad`.
pub(crate) fn backward(activation: Activation, grad: &Tensor, x: &Tensor) -> Tensor {
    pieces::map(x, [grad], |x, [grad]| match activation {
        Activation::Gelu => x.gelu_backward(grad, "none"),
        Activation::GeluTanh => x.gelu_backward(grad, "tanh"),
        Activation::Relu => x.threshold_backward(grad, 0.0),
        Activation::Silu => x.silu_backward(grad),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn each_derivative_matches_autograd() {
        let x = Tensor::linspace(-4.0, 4.0, 41, (Kind::Double, tch::Device::Cpu)).set_requires_grad(true);
        let grad = Tensor::linspace(1.0, 2.0, 41, (Kind::Double, tch::Device::Cpu));
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
            let loss = (forward(activation, &x) * &grad).sum(Kind::Double);
            let expected = &Tensor::run_backward(&[loss], &[&x], false, false)[0];
            assert!(backward(activation, &grad, &x).allclose(expected, 1e-12, 1e-12, false), "{activation:?}");
        }
    }

    /// Compares the kernels' activations with libtorch's.
    #[test]
    fn each_activation_matches_the_kernels() {
        let xs: Vec<f32> = (0..2001).map(|i| (i - 1000) as f32 * 0.012).collect();
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
            let mut found = xs.clone();
            activation.apply(&mut found);
            let off = (Tensor::from_slice(&found) - forward(activation, &Tensor::from_slice(&xs))).abs();
            let allowed = Tensor::from_slice(&xs).abs() * 1e-6 + 2e-7;
            assert!((off - allowed).max().double_value(&[]) < 0.0, "{activation:?}");
        }
    }
}
