//! Functions with a backward pass of one's own, as part of autograd's graph.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{TchError, Tensor};

use crate::shim;

/// The numbers of `value` as a function of `inputs`, for autograd: where it wants the inputs' gradients, it calls `backward` with dL/dy
/// of the shape of `value`, and takes one gradient for each of the inputs, in their order and of their shapes. What `backward` computes is
/// not recorded, so there are no second derivatives. Where
/// autograd is off, or none of the inputs wants a gradient, the result wants none either.
///
/// `backward` runs once for each backward pass through this part of the graph, on whichever thread autograd works on for the
/// device, and is dropped with the graph.
///
/// # Errors
/// What libtorch says. A panic of `backward`, or another number of gradients, is an error of the backward pass.
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
    let count = inputs.len();
    shim::own(value, inputs, move |grad| {
        // A panic may not cross into C++.
        let grads = catch_unwind(AssertUnwindSafe(|| backward(grad))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            format!("the backward pass of a function panicked: {text}")
        })?;
        if grads.len() == count {
            Ok(grads)
        } else {
            Err(format!("the backward pass of a function gave {} gradients, expected {count}", grads.len()))
        }
    })
}
