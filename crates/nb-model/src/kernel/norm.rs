//! LayerNorm of a sum, y = γ·x̂ + β with x̂ = (r − mean r)/√(var r + ε) and r = x + residual (Ba et al. 2016).
//!
//! The mean and the (biased) variance are taken over the H units of a row. What the backward pass needs is x̂ and
//! 1/√(var + ε); r itself is not kept. On the CPU one pass over each row does all of it.

use tch::{Device, Kind, Tensor};

use super::simd::dispatch;
use crate::host::with_slices;
use crate::pool;

/// Rows per parallel piece. Fixed, so that the sums over rows do not depend on the number of threads.
const PIECE: usize = 32;
/// Independent partial sums of a row; lets the compiler use vector registers without reordering floats itself.
const LANES: usize = 16;

/// Views of one LayerNorm's parameters and gradients, all \[H\] and f32.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) weight_grad: Tensor,
    pub(crate) bias_grad: Tensor,
    pub(crate) eps: f64,
}

/// What the backward pass needs: x̂ [n, H] and 1/√(var + ε) [n, 1].
#[derive(Debug)]
pub(crate) struct NormTape {
    normalised: Tensor,
    inverse_deviation: Tensor,
}

impl LayerNorm {
    /// Normalises `x + residual`, both f32 [n, H].
    pub(crate) fn forward(&self, x: &Tensor, residual: &Tensor) -> (Tensor, NormTape) {
        match x.device() {
            Device::Cpu => self.forward_host(x, residual),
            _ => self.forward_plain(x, residual),
        }
    }

    /// From dL/dy adds dL/dγ and dL/dβ to the arena and returns dL/dr, which is the gradient of `x` and of `residual`.
    pub(crate) fn backward(&self, grad: &Tensor, tape: &NormTape) -> Tensor {
        match grad.device() {
            Device::Cpu => self.backward_host(grad, tape),
            _ => self.backward_plain(grad, tape),
        }
    }

    fn forward_plain(&self, x: &Tensor, residual: &Tensor) -> (Tensor, NormTape) {
        let r = x + residual;
        let centred = &r - r.mean_dim(-1, true, Kind::Float);
        let inverse_deviation = (centred.square().mean_dim(-1, true, Kind::Float) + self.eps).rsqrt();
        let normalised = centred * &inverse_deviation;
        (&normalised * &self.weight + &self.bias, NormTape { normalised, inverse_deviation })
    }

    fn backward_plain(&self, grad: &Tensor, tape: &NormTape) -> Tensor {
        let x = &tape.normalised;
        let _ = self.weight_grad.shallow_clone().g_add_(&(grad * x).sum_dim_intlist(0, false, Kind::Float));
        let _ = self.bias_grad.shallow_clone().g_add_(&grad.sum_dim_intlist(0, false, Kind::Float));
        let g = grad * &self.weight;
        let along = x * (&g * x).mean_dim(-1, true, Kind::Float);
        (&g - g.mean_dim(-1, true, Kind::Float) - along) * &tape.inverse_deviation
    }

    fn forward_host(&self, x: &Tensor, residual: &Tensor) -> (Tensor, NormTape) {
        let (x, residual) = (x.contiguous(), residual.contiguous());
        let (rows, width) = x.size2().unwrap_or_else(|e| panic!("LayerNorm takes [n, H]: {e}"));
        let options = (Kind::Float, Device::Cpu);
        let mut out = Tensor::empty([rows, width], options);
        let mut normalised = Tensor::empty([rows, width], options);
        let mut inverse = Tensor::empty([rows, 1], options);
        let (h, eps) = (width as usize, self.eps);
        with_slices::<f32, 4, 3, _>(
            [&x, &residual, &self.weight, &self.bias],
            [&mut out, &mut normalised, &mut inverse],
            |[x, residual, weight, bias], [out, normalised, inverse]| {
                let rows = x.chunks(h * PIECE).zip(residual.chunks(h * PIECE));
                let outs = out.chunks_mut(h * PIECE).zip(normalised.chunks_mut(h * PIECE));
                pool::for_each(rows.zip(outs.zip(inverse.chunks_mut(PIECE))), |(rows, (outs, inverse))| {
                    dispatch(|| forward_piece(rows, (weight, bias), eps, outs, inverse));
                });
            },
        );
        (out, NormTape { normalised, inverse_deviation: inverse })
    }

    fn backward_host(&self, grad: &Tensor, tape: &NormTape) -> Tensor {
        let grad = grad.contiguous();
        let mut out = grad.empty_like();
        let h = self.weight.numel();
        let (mut weight_grad, mut bias_grad) = (self.weight_grad.shallow_clone(), self.bias_grad.shallow_clone());
        with_slices::<f32, 4, 3, _>(
            [&grad, &tape.normalised, &tape.inverse_deviation, &self.weight],
            [&mut out, &mut weight_grad, &mut bias_grad],
            |[grad, norm, inverse, weight], [out, weight_grad, bias_grad]| {
                let rows = grad.chunks(h * PIECE).zip(norm.chunks(h * PIECE)).zip(inverse.chunks(PIECE));
                let mut pieces = vec![(Vec::new(), Vec::new()); rows.len()];
                pool::for_each(
                    rows.zip(out.chunks_mut(h * PIECE)).zip(&mut pieces),
                    |((((grad, norm), inverse), out), piece)| {
                        *piece = dispatch(|| backward_piece(grad, norm, inverse, weight, out));
                    },
                );
                for (weight_part, bias_part) in pieces {
                    weight_grad.iter_mut().zip(weight_part).for_each(|(g, p)| *g += p);
                    bias_grad.iter_mut().zip(bias_part).for_each(|(g, p)| *g += p);
                }
            },
        );
        out
    }
}

/// LayerNorm of `x + residual` in place of `x`, both [n, H], on this thread.
pub(crate) fn normalise_sum(x: &mut [f32], residual: &[f32], (weight, bias): (&[f32], &[f32]), eps: f64) {
    dispatch(|| {
        let h = weight.len();
        for (x, residual) in x.chunks_exact_mut(h).zip(residual.chunks_exact(h)) {
            x.iter_mut().zip(residual).for_each(|(x, r)| *x += r);
            normalise(x, eps);
            x.iter_mut().zip(weight.iter().zip(bias)).for_each(|(x, (w, b))| *x = *x * w + b);
        }
    });
}

/// `out` and x̂ of a piece of rows from `x` and the residual, and the rows' 1/√(var + ε).
#[inline(always)]
fn forward_piece(
    (x, residual): (&[f32], &[f32]),
    (weight, bias): (&[f32], &[f32]),
    eps: f64,
    (out, norm): (&mut [f32], &mut [f32]),
    inverse: &mut [f32],
) {
    let h = weight.len();
    let rows = x.chunks_exact(h).zip(residual.chunks_exact(h));
    let targets = out.chunks_exact_mut(h).zip(norm.chunks_exact_mut(h)).zip(inverse);
    for ((x, r), ((out, norm), inverse)) in rows.zip(targets) {
        norm.iter_mut().zip(x.iter().zip(r)).for_each(|(n, (x, r))| *n = x + r);
        *inverse = normalise(norm, eps);
        out.iter_mut().zip(&*norm).zip(weight.iter().zip(bias)).for_each(|((o, n), (w, b))| *o = n * w + b);
    }
}

/// Normalises one row in place and returns 1/√(var + ε).
#[inline(always)]
fn normalise(row: &mut [f32], eps: f64) -> f32 {
    let width = row.len() as f32;
    let mean = sum(row, |v| v) / width;
    row.iter_mut().for_each(|v| *v -= mean);
    let variance = sum(row, |v| v * v) / width;
    let inverse = 1.0 / (variance + eps as f32).sqrt();
    row.iter_mut().for_each(|v| *v *= inverse);
    inverse
}

/// Writes dL/dr of a piece of rows and returns its part of dL/dγ and dL/dβ.
#[inline(always)]
fn backward_piece(
    grad: &[f32],
    norm: &[f32],
    inverse: &[f32],
    weight: &[f32],
    out: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let h = weight.len();
    let (mut weight_part, mut bias_part) = (vec![0.0; h], vec![0.0; h]);
    let rows = grad.chunks_exact(h).zip(norm.chunks_exact(h));
    for ((grad, norm), (inverse, out)) in rows.zip(inverse.iter().zip(out.chunks_exact_mut(h))) {
        for ((out, (g, n)), (w, (wp, bp))) in
            out.iter_mut().zip(grad.iter().zip(norm)).zip(weight.iter().zip(weight_part.iter_mut().zip(&mut bias_part)))
        {
            *wp += g * n;
            *bp += g;
            *out = g * w;
        }
        let mean = sum(out, |v| v) / h as f32;
        let along = sum_product(out, norm) / h as f32;
        out.iter_mut().zip(norm).for_each(|(o, n)| *o = (*o - mean - n * along) * inverse);
    }
    (weight_part, bias_part)
}

/// Σ f(v) in [`LANES`] partial sums.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|&v| f(v)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, &v)| *l += f(v));
    }
    lanes.iter().sum::<f32>() + rest
}

/// Σ a·b in [`LANES`] partial sums.
#[inline(always)]
fn sum_product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(l, (a, b))| *l += a * b);
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn norm(h: i64) -> LayerNorm {
        let zeros = || Tensor::zeros([h], (Kind::Float, Device::Cpu));
        LayerNorm { weight: random(&[h]), bias: random(&[h]), weight_grad: zeros(), bias_grad: zeros(), eps: 1e-12 }
    }

    /// 70 rows of 37 units: neither pieces nor lanes come out even.
    #[test]
    fn the_kernel_is_libtorchs_layer_norm() {
        tch::manual_seed(1);
        let (norm, x, residual, grad) = (norm(37), random(&[70, 37]), random(&[70, 37]), random(&[70, 37]));
        let r = (&x + &residual).set_requires_grad(true);
        let (w, b) = (norm.weight.copy().set_requires_grad(true), norm.bias.copy().set_requires_grad(true));
        let expected = r.layer_norm([37], Some(&w), Some(&b), 1e-12, false);
        let expected_grads = Tensor::run_backward(&[(&expected * &grad).sum(Kind::Float)], &[&r, &w, &b], false, false);

        for plain in [false, true] {
            let _ = (norm.weight_grad.shallow_clone().zero_(), norm.bias_grad.shallow_clone().zero_());
            let (out, dr) = if plain {
                let (out, tape) = norm.forward_plain(&x, &residual);
                (out, norm.backward_plain(&grad, &tape))
            } else {
                let (out, tape) = norm.forward(&x, &residual);
                (out, norm.backward(&grad, &tape))
            };
            let pairs = [
                (out, expected.shallow_clone()),
                (dr, expected_grads[0].shallow_clone()),
                (norm.weight_grad.shallow_clone(), expected_grads[1].shallow_clone()),
                (norm.bias_grad.shallow_clone(), expected_grads[2].shallow_clone()),
            ];
            for (found, expected) in pairs {
                assert!(
                    found.allclose(&expected, 1e-5, 1e-5, false),
                    "plain {plain}: {}",
                    (found - expected).abs().max()
                );
            }
        }
    }
}
