//! Functions with a backward pass of one's own, as part of autograd's graph.

use tch::{TchError, Tensor};

use crate::shim;

/// The numbers of `value` as a function of `inputs`, for autograd: where it wants the inputs' gradients, it calls `backward` with
/// dL/dy of the shape of `value`, and takes one gradient for each of the inputs, in their order and of their shapes. Where autograd
/// is off, or none of the inputs wants a gradient, the result wants none either.
///
/// `backward` runs once for each backward pass through this part of the graph, by one thread at a time, whichever autograd works
/// on, and is dropped with what the graph keeps: after the first backward pass, unless that is to keep the graph. It must not
/// change the gradient that it is given. Tensors that it captures are its own affair: nobody notices if they are changed before it
/// reads them.
///
/// # Errors
/// What libtorch says. A panic of `backward`, another number of gradients, or a wish for second derivatives (`create_graph`) is an
/// error of the backward pass.
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
