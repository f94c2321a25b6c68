//! Functions with a custom backward pass, as part of autograd's graph.

use tch::{TchError, Tensor};

use crate::shim;

/// Returns a tensor with the values of `value`, which is a function of `inputs` in autograd's graph. For the inputs' gradients,
/// autograd calls `backward` with dL/dy of the shape of `value`; it must return one gradient for each input, in the same order
/// and of the same shapes. If autograd is off or no input requires a gradient, the result does not require one either.
///
/// `backward` runs once for each backward pass through this part of the graph, in one of autograd's threads and never in two at
/// a time. It is dropped when the graph is freed: after the first backward pass, unless that pass retains the graph. It must
/// not change the gradient that it receives. Autograd does not notice if tensors that `backward` captures are changed before it
/// reads them.
///
/// # Errors
/// If libtorch fails. The backward pass fails if `backward` panics or returns a wrong number of gradients, and if second
/// derivatives are requested (`create_graph`).
///
/// ```
/// use nb_torch::with_backward;
/// use tch::{Kind, Tensor};
/// let x = Tensor::from_slice(&[1f32, -2.0]).set_requires_grad(true);
/// // |x|, whose derivative is the sign.
/// let sign = x.detach().sign();
/// let y = with_backward(&x.detach().abs(), &[&x], move |grad| vec![grad * &sign])?;
/// y.sum(Kind::Float).backward();
/// assert_eq!(Vec::<f32>::try_from(x.grad())?, [1.0, -1.0]);
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn with_backward(
    value: &Tensor,
    inputs: &[&Tensor],
    backward: impl Fn(Tensor) -> Vec<Tensor> + Send + 'static,
) -> Result<Tensor, TchError> {
    shim::with_backward(value, inputs, backward)
}
