//! Products of many rows by the kernels of [`nb_kernels::gemm`]: f32 products with AVX-512 or AVX2, and bf16 products
//! with AVX-512 BF16.

use half::bf16;
use nb_kernels::Activation;
use nb_kernels::gemm::{Element, Isa, Matrix};
use nb_torch::cpu_slices::{TensorElement, read, with_slices, write};
use tch::{Device, Kind, Tensor};

use super::FEWEST_ROWS;

/// The products of a dense layer with `weight` [out, in] and their gradients.
///
/// # Panics
///
/// If tensors are of other kinds than `x` and `weight` in [`select`], if shapes do not match, or if widths are odd in bf16.
pub(crate) trait Gemm {
    /// Computes `x` Wᵀ + b, [n, out].
    fn forward(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor;

    /// Computes f(`x` Wᵀ + b), [n, out].
    fn activated(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> Tensor;

    /// Computes y = f(u) and f′(u) at u = `x` Wᵀ + b, both [n, out].
    fn activated_with_slope(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> (Tensor, Tensor);

    /// Computes dL/dx [n, in] from dL/dy `grad` [n, out].
    fn input_grad(&self, grad: &Tensor, weight: &Tensor) -> Tensor;

    /// Computes dL/du [n, in] where the layer's input x is f(u), with f′(u) as `slopes` [n, in].
    fn input_grad_through(&self, grad: &Tensor, weight: &Tensor, slopes: &Tensor) -> Tensor;

    /// Does the same as [`Gemm::input_grad`], but adds the result to `residual` [n, in], f32.
    fn add_input_grad(&self, residual: &mut Tensor, grad: &Tensor, weight: &Tensor);

    /// Adds dL/dW to `weight_grad` [out, in] and dL/db to `bias_grad` \[out\], both f32, from dL/dy `grad` [n, out] and the
    /// input `x` [n, in].
    fn add_parameter_grads(&self, grad: &Tensor, x: &Tensor, weight_grad: &mut Tensor, bias_grad: &mut Tensor);
}

/// Returns the kernels for products of rows `x` [n, in], or of their gradients [n, out], with `weight` [out, in]; `None` if
/// libtorch is faster or there are no kernels. (An [`Isa`] has no size, so the box allocates nothing.)
pub(crate) fn select(x: &Tensor, weight: &Tensor) -> Option<Box<dyn Gemm>> {
    fn fastest<T: Element + TensorElement>(weight: &Tensor) -> Option<Box<dyn Gemm>> {
        let in_word = 4 / size_of::<T>();
        let fits = weight.size().iter().all(|&size| size > 0 && (size as usize).is_multiple_of(in_word));
        Isa::<T>::fastest().filter(|_| fits).map(|isa| Box::new(isa) as Box<dyn Gemm>)
    }
    match (x.device(), x.kind()) {
        _ if x.size()[0] < FEWEST_ROWS => None,
        (Device::Cpu, Kind::BFloat16) => fastest::<bf16>(weight),
        (Device::Cpu, Kind::Float) => fastest::<f32>(weight),
        _ => None,
    }
}

impl<T: Element + TensorElement> Gemm for Isa<T> {
    fn forward(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        linear(*self, x, weight, bias, None)
    }

    fn activated(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> Tensor {
        linear(*self, x, weight, bias, Some(f))
    }

    fn activated_with_slope(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> (Tensor, Tensor) {
        let Widths { inputs, outputs } = check_forward(x, weight, bias);
        let isa = *self;
        let (mut values, mut slopes) = (new::<T>(x, outputs), new::<T>(x, outputs));
        let x = x.contiguous();
        with_slices(
            ([&x, weight, bias].map(read::<T>), [&mut values, &mut slopes].map(write::<T>)),
            |([x, weight, bias], [values, slopes])| {
                let (x, weight) = (matrix(x, inputs), matrix(weight, inputs));
                isa.linear_with_slope(x, weight, bias, f, values, slopes);
            },
        );
        (values, slopes)
    }

    fn input_grad(&self, grad: &Tensor, weight: &Tensor) -> Tensor {
        let Widths { inputs, outputs } = check_backward(grad, weight);
        let isa = *self;
        let mut out = new::<T>(grad, inputs);
        let grad = grad.contiguous();
        with_slices(([&grad, weight].map(read::<T>), write::<T>(&mut out)), |([grad, weight], out)| {
            isa.input_grad(matrix(grad, outputs), matrix(weight, inputs), out);
        });
        out
    }

    fn input_grad_through(&self, grad: &Tensor, weight: &Tensor, slopes: &Tensor) -> Tensor {
        let Widths { inputs, outputs } = check_backward(grad, weight);
        check("the slopes", slopes, grad.size()[0], inputs);
        let isa = *self;
        let mut out = new::<T>(grad, inputs);
        let grad = grad.contiguous();
        with_slices(([&grad, weight, slopes].map(read::<T>), write::<T>(&mut out)), |([grad, weight, slopes], out)| {
            isa.input_grad_through(matrix(grad, outputs), matrix(weight, inputs), slopes, out);
        });
        out
    }

    fn add_input_grad(&self, residual: &mut Tensor, grad: &Tensor, weight: &Tensor) {
        let Widths { inputs, outputs } = check_backward(grad, weight);
        check("the residual", residual, grad.size()[0], inputs);
        let isa = *self;
        let grad = grad.contiguous();
        with_slices(([&grad, weight].map(read::<T>), write::<f32>(residual)), |([grad, weight], sum)| {
            isa.add_input_grad(matrix(grad, outputs), matrix(weight, inputs), sum);
        });
    }

    fn add_parameter_grads(&self, grad: &Tensor, x: &Tensor, weight_grad: &mut Tensor, bias_grad: &mut Tensor) {
        let Widths { inputs, outputs } = Widths::of(weight_grad);
        check("the gradient", grad, x.size()[0], outputs);
        check("the input", x, x.size()[0], inputs);
        check_bias(bias_grad, outputs);
        let (isa, grad, x) = (*self, grad.contiguous(), x.contiguous());
        with_slices(
            ([&grad, &x].map(read::<T>), [weight_grad, bias_grad].map(write::<f32>)),
            |([grad, x], [weight_grad, bias_grad])| {
                isa.add_parameter_grads(matrix(grad, outputs), matrix(x, inputs), weight_grad, bias_grad);
            },
        );
    }
}

/// Computes `x` Wᵀ + b, [n, out], through the activation if there is one.
fn linear<T: Element + TensorElement>(
    isa: Isa<T>,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Option<Activation>,
) -> Tensor {
    let Widths { inputs, outputs } = check_forward(x, weight, bias);
    let mut out = new::<T>(x, outputs);
    let x = x.contiguous();
    with_slices(([&x, weight, bias].map(read::<T>), write::<T>(&mut out)), |([x, weight, bias], out)| {
        isa.linear(matrix(x, inputs), matrix(weight, inputs), bias, activation, out);
    });
    out
}

/// The widths of a weight matrix [out, in].
struct Widths {
    inputs: usize,
    outputs: usize,
}

impl Widths {
    fn of(weight: &Tensor) -> Self {
        Self { inputs: weight.size()[1] as usize, outputs: weight.size()[0] as usize }
    }
}

fn matrix<T>(entries: &[T], columns: usize) -> Matrix<'_, T> {
    Matrix { entries, columns }
}

fn check_forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Widths {
    let widths = Widths::of(weight);
    check("the input", x, x.size()[0], widths.inputs);
    check_bias(bias, widths.outputs);
    widths
}

fn check_backward(grad: &Tensor, weight: &Tensor) -> Widths {
    let widths = Widths::of(weight);
    check("the gradient", grad, grad.size()[0], widths.outputs);
    widths
}

/// Panics unless `x` is [`rows`, `width`].
fn check(what: &str, x: &Tensor, rows: i64, width: usize) {
    assert_eq!(x.size(), [rows, width as i64], "the shape of {what}");
}

fn check_bias(bias: &Tensor, outputs: usize) {
    assert_eq!(bias.size(), [outputs as i64], "the shape of the bias");
}

fn new<T: TensorElement>(x: &Tensor, width: usize) -> Tensor {
    Tensor::empty([x.size()[0], width as i64], (T::KIND, Device::Cpu))
}

#[cfg(test)]
mod tests;
