//! Products of matrices on processors with AVX-512: of f32 where libtorch's BLAS leaves it to others (see [`number`]), and of
//! bf16 where pairs of it are multiplied and added up in f32 (AVX-512 BF16: AMD's Zen 4 and 5, and some of Intel's); numbers of
//! bf16 that are too small to be normal count as 0 there.
//!
//! oneDNN multiplies about as fast. What it does not do is the rest: sums go straight into the gradients, in f32, and biases,
//! activations and their derivatives are done while a tile of the result is in the first cache, without rounding in between.
//! Nor is anything compiled for the number of rows, which is another in each batch of packed tokens.
//!
//! The right matrix is rearranged into panels of 64 columns, and the left one goes by in rows, six at a time. An entry of the
//! result is a sum in one order, whatever the number of threads.

mod blocks;
mod finish;
mod number;
mod pack;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod tile;

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::FEWEST_ROWS;
use crate::config::Activation;
use crate::host::with_slices_of;
use blocks::{Backward, Forward, WeightGrad};
use finish::{Added, Biased, Plain, Times, WithSlope};
use number::Number;
use tile::Dots;

/// The products of a dense layer with `weight` [out, in] and their gradients.
///
/// # Panics
/// If tensors are of other kinds than `x` and `weight` of [`of`], or of shapes that do not fit; for bf16, if widths are odd.
pub(crate) trait Products {
    /// `x` Wᵀ + b, [n, out].
    fn forward(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor;

    /// f(`x` Wᵀ + b), [n, out].
    fn activated(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> Tensor;

    /// y = f(u) and f′(u) at u = `x` Wᵀ + b, [n, out] both.
    fn activated_with_slope(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> (Tensor, Tensor);

    /// dL/dx [n, in] from dL/dy `grad` [n, out].
    fn input_grad(&self, grad: &Tensor, weight: &Tensor) -> Tensor;

    /// dL/du [n, in] where the layer's input x is f(u), with f′(u) as `slopes` [n, in].
    fn input_grad_through(&self, grad: &Tensor, weight: &Tensor, slopes: &Tensor) -> Tensor;

    /// As [`Products::input_grad`], added to `residual` [n, in], f32.
    fn add_input_grad(&self, residual: &mut Tensor, grad: &Tensor, weight: &Tensor);

    /// From dL/dy `grad` [n, out] and the input `x` [n, in] adds dL/dW to `weight_grad` [out, in] and dL/db to `bias_grad`
    /// \[out\], f32 both.
    fn add_parameter_grads(&self, grad: &Tensor, x: &Tensor, weight_grad: &mut Tensor, bias_grad: &mut Tensor);
}

/// What makes the products of rows `x` [n, in], or their gradients [n, out], with `weight` [out, in], if they belong here.
pub(crate) fn of(x: &Tensor, weight: &Tensor) -> Option<&'static dyn Products> {
    fn find<T: Number>(weight: &Tensor) -> Option<&'static dyn Products> {
        let fits = weight.size().iter().all(|&size| size > 0 && (size as usize).is_multiple_of(T::IN_WORD));
        let dots = T::dots().filter(|_| fits)?;
        Some(dots)
    }
    match (x.device(), x.kind()) {
        _ if x.size()[0] < FEWEST_ROWS => None,
        (Device::Cpu, Kind::BFloat16) => find::<bf16>(weight),
        (Device::Cpu, Kind::Float) => find::<f32>(weight),
        _ => None,
    }
}

impl<T: Number> Products for Dots<T> {
    fn forward(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        biased(*self, x, (weight, bias), None)
    }

    fn activated(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> Tensor {
        biased(*self, x, (weight, bias), Some(f))
    }

    fn activated_with_slope(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> (Tensor, Tensor) {
        let [inputs, outputs] = sizes(weight);
        check("the input", x, x.size()[0], inputs);
        check_bias(bias, outputs);
        let (mut values, mut slopes) = (new::<T>(x, outputs), new::<T>(x, outputs));
        with_slices_of::<T, T, 3, 2, _>(
            [&x.contiguous(), weight, bias],
            [&mut values, &mut slopes],
            |[x, weight, bias], [values, slopes]| {
                Forward { dots: *self, x, weight, outputs }.run(&WithSlope { bias, activation: f }, |columns| {
                    pieces(values, outputs, columns).zip(pieces(slopes, outputs, columns))
                });
            },
        );
        (values, slopes)
    }

    fn input_grad(&self, grad: &Tensor, weight: &Tensor) -> Tensor {
        let [inputs, outputs] = sizes(weight);
        check("the gradient", grad, grad.size()[0], outputs);
        let mut out = new::<T>(grad, inputs);
        with_slices_of::<T, T, 2, 1, _>([&grad.contiguous(), weight], [&mut out], |[grad, weight], [out]| {
            Backward { dots: *self, grad, weight, inputs }.run(&Plain, |columns| pieces(out, inputs, columns));
        });
        out
    }

    fn input_grad_through(&self, grad: &Tensor, weight: &Tensor, slopes: &Tensor) -> Tensor {
        let [inputs, outputs] = sizes(weight);
        check("the gradient", grad, grad.size()[0], outputs);
        check("the slopes", slopes, grad.size()[0], inputs);
        let mut out = new::<T>(grad, inputs);
        with_slices_of::<T, T, 3, 1, _>(
            [&grad.contiguous(), weight, slopes],
            [&mut out],
            |[grad, weight, slopes], [out]| {
                let slopes = |columns| slopes.chunks(inputs).flat_map(move |row| row.chunks(columns));
                Backward { dots: *self, grad, weight, inputs }
                    .run(&Times, |columns| slopes(columns).zip(pieces(out, inputs, columns)));
            },
        );
        out
    }

    fn add_input_grad(&self, residual: &mut Tensor, grad: &Tensor, weight: &Tensor) {
        let [inputs, outputs] = sizes(weight);
        check("the gradient", grad, grad.size()[0], outputs);
        check("the residual", residual, grad.size()[0], inputs);
        with_slices_of::<T, f32, 2, 1, _>([&grad.contiguous(), weight], [residual], |[grad, weight], [out]| {
            Backward { dots: *self, grad, weight, inputs }.run(&Added, |columns| pieces(out, inputs, columns));
        });
    }

    fn add_parameter_grads(&self, grad: &Tensor, x: &Tensor, weight_grad: &mut Tensor, bias_grad: &mut Tensor) {
        let [inputs, outputs] = sizes(weight_grad);
        check("the gradient", grad, x.size()[0], outputs);
        check("the input", x, x.size()[0], inputs);
        check_bias(bias_grad, outputs);
        with_slices_of::<T, f32, 2, 2, _>(
            [&grad.contiguous(), &x.contiguous()],
            [weight_grad, bias_grad],
            |[grad, x], [weight_grad, bias_grad]| {
                WeightGrad { dots: *self, grad, x, inputs }.add_to(weight_grad, bias_grad);
            },
        );
    }
}

/// `x` Wᵀ + b, [n, out], through the activation where there is one.
fn biased<T: Number>(
    dots: Dots<T>,
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    activation: Option<Activation>,
) -> Tensor {
    let [inputs, outputs] = sizes(weight);
    check("the input", x, x.size()[0], inputs);
    check_bias(bias, outputs);
    let mut out = new::<T>(x, outputs);
    with_slices_of::<T, T, 3, 1, _>([&x.contiguous(), weight, bias], [&mut out], |[x, weight, bias], [out]| {
        Forward { dots, x, weight, outputs }.run(&Biased { bias, activation }, |columns| pieces(out, outputs, columns));
    });
    out
}

/// Inputs and outputs of a weight matrix [out, in].
fn sizes(weight: &Tensor) -> [usize; 2] {
    [weight.size()[1] as usize, weight.size()[0] as usize]
}

/// The rows of `out`, `width` each, in pieces of so many columns.
fn pieces<U>(out: &mut [U], width: usize, columns: usize) -> impl Iterator<Item = &mut [U]> {
    out.chunks_mut(width).flat_map(move |row| row.chunks_mut(columns))
}

/// Refuses what is not [`rows`, `width`].
fn check(what: &str, x: &Tensor, rows: i64, width: usize) {
    assert_eq!(x.size(), [rows, width as i64], "the shape of {what}");
}

fn check_bias(bias: &Tensor, outputs: usize) {
    assert_eq!(bias.size(), [outputs as i64], "the shape of the bias");
}

fn new<T: Number>(x: &Tensor, width: usize) -> Tensor {
    Tensor::empty([x.size()[0], width as i64], (T::KIND, Device::Cpu))
}

#[cfg(test)]
mod tests;
