//! LayerNorm of a sum, y = γ·x̂ + β with x̂ = (r − mean r)/√(var r + ε) and r = dropout(x) + residual (Ba et al. 2016).
//!
//! The mean and the (biased) variance are taken over the H units of a row. What the backward pass needs is x̂ and
//! 1/√(var + ε); r itself is not kept. On the CPU one pass over each row does all of it, dropout and the copy in the precision
//! of the products with it.

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::dropout::{BLOCK, Dropout};
use super::simd::{dispatch, sum, sum_product};
use crate::host::{Element, with_slices_of_both};
use crate::pool;

/// Rows per parallel piece. Fixed, so that the sums over rows do not depend on the number of threads; and as many as a block
/// of dropout has entries, so that each piece begins with one.
const PIECE: usize = BLOCK;

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

/// A hidden state [n, H].
#[derive(Debug)]
pub(crate) struct State {
    /// In f32.
    pub(crate) wide: Tensor,
    /// In the precision of the products; the same tensor where that is f32.
    pub(crate) low: Tensor,
}

impl State {
    /// `wide` (f32), and in `kind`.
    pub(crate) fn new(wide: Tensor, kind: Kind) -> Self {
        Self { low: wide.to_kind(kind), wide }
    }
}

impl LayerNorm {
    /// Normalises dropout(`x`) + `residual`, both [n, H], the residual f32; `x`, in the precision of the products, is used up.
    pub(crate) fn forward(&self, x: Tensor, dropout: Option<Dropout>, residual: &Tensor) -> (State, NormTape) {
        match (x.device(), x.kind()) {
            (Device::Cpu, Kind::Float) => self.forward_host::<f32>(&x, dropout, residual),
            (Device::Cpu, Kind::BFloat16) => self.forward_host::<bf16>(&x, dropout, residual),
            _ => self.forward_plain(x, dropout, residual),
        }
    }

    /// From dL/dy adds dL/dγ and dL/dβ to the arena. Returns dL/d`residual` in f32 and dL/d`x` in `kind`, from the same
    /// dropout.
    pub(crate) fn backward(
        &self,
        grad: &Tensor,
        tape: &NormTape,
        dropout: Option<Dropout>,
        kind: Kind,
    ) -> (Tensor, Tensor) {
        match (grad.device(), kind) {
            (Device::Cpu, Kind::Float) => self.backward_host::<f32>(grad, tape, dropout),
            (Device::Cpu, Kind::BFloat16) => self.backward_host::<bf16>(grad, tape, dropout),
            _ => self.backward_plain(grad, tape, dropout, kind),
        }
    }

    fn forward_plain(&self, mut x: Tensor, dropout: Option<Dropout>, residual: &Tensor) -> (State, NormTape) {
        let kind = x.kind();
        if let Some(dropout) = dropout {
            dropout.apply(&mut x);
        }
        let r = x.to_kind(Kind::Float) + residual;
        let centred = &r - r.mean_dim(-1, true, Kind::Float);
        let inverse_deviation = (centred.square().mean_dim(-1, true, Kind::Float) + self.eps).rsqrt();
        let normalised = centred * &inverse_deviation;
        let out = &normalised * &self.weight + &self.bias;
        (State::new(out, kind), NormTape { normalised, inverse_deviation })
    }

    fn backward_plain(&self, grad: &Tensor, tape: &NormTape, dropout: Option<Dropout>, kind: Kind) -> (Tensor, Tensor) {
        let x = &tape.normalised;
        let _ = self.weight_grad.shallow_clone().g_add_(&(grad * x).sum_dim_intlist(0, false, Kind::Float));
        let _ = self.bias_grad.shallow_clone().g_add_(&grad.sum_dim_intlist(0, false, Kind::Float));
        let g = grad * &self.weight;
        let along = x * (&g * x).mean_dim(-1, true, Kind::Float);
        let residual = (&g - g.mean_dim(-1, true, Kind::Float) - along) * &tape.inverse_deviation;
        let mut branch = if kind == Kind::Float { residual.copy() } else { residual.to_kind(kind) };
        if let Some(dropout) = dropout {
            dropout.apply(&mut branch);
        }
        (residual, branch)
    }

    fn forward_host<T: Element>(&self, x: &Tensor, dropout: Option<Dropout>, residual: &Tensor) -> (State, NormTape) {
        let (x, residual) = (x.contiguous(), residual.contiguous());
        let (rows, width) = x.size2().unwrap_or_else(|e| panic!("LayerNorm takes [n, H]: {e}"));
        let new = |width, kind| Tensor::empty([rows, width], (kind, Device::Cpu));
        let (mut out, mut normalised, mut inverse) =
            (new(width, Kind::Float), new(width, Kind::Float), new(1, Kind::Float));
        let mut low = new(if T::KIND == Kind::Float { 0 } else { width }, T::KIND);
        let (h, eps) = (width as usize, self.eps);
        with_slices_of_both::<T, f32, 1, 1, 3, 3, _>(
            ([&x], [&mut low]),
            ([&residual, &self.weight, &self.bias], [&mut out, &mut normalised, &mut inverse]),
            |([x], [low]), ([residual, weight, bias], [out, normalised, inverse])| {
                let inputs = x.chunks(h * PIECE).zip(residual.chunks(h * PIECE));
                let outs = out.chunks_mut(h * PIECE).zip(normalised.chunks_mut(h * PIECE));
                let pieces = inputs.zip(outs.zip(inverse.chunks_mut(PIECE)));
                let lows = pieces_or_none(low, h * PIECE, pieces.len());
                let pieces = pieces.zip(lows).enumerate();
                pool::for_each(pieces, |(i, (((x, residual), ((out, norm), inverse)), low))| {
                    dispatch(|| {
                        copy(dropout, i * h, x, norm);
                        forward_piece(residual, (weight, bias), eps, (out, norm), inverse);
                        if let Some(low) = low {
                            low.iter_mut().zip(&*out).for_each(|(low, out)| *low = T::from_f32(*out));
                        }
                    });
                });
            },
        );
        let low = if T::KIND == Kind::Float { out.shallow_clone() } else { low };
        (State { wide: out, low }, NormTape { normalised, inverse_deviation: inverse })
    }

    fn backward_host<T: Element>(&self, grad: &Tensor, tape: &NormTape, dropout: Option<Dropout>) -> (Tensor, Tensor) {
        let grad = grad.contiguous();
        let (mut out, mut branch) = (grad.empty_like(), Tensor::empty(grad.size(), (T::KIND, Device::Cpu)));
        let h = self.weight.numel();
        let (mut weight_grad, mut bias_grad) = (self.weight_grad.shallow_clone(), self.bias_grad.shallow_clone());
        with_slices_of_both::<T, f32, 0, 1, 4, 3, _>(
            ([], [&mut branch]),
            (
                [&grad, &tape.normalised, &tape.inverse_deviation, &self.weight],
                [&mut out, &mut weight_grad, &mut bias_grad],
            ),
            |(_, [branch]), ([grad, norm, inverse, weight], [out, weight_grad, bias_grad])| {
                let rows = grad.chunks(h * PIECE).zip(norm.chunks(h * PIECE)).zip(inverse.chunks(PIECE));
                let mut sums = vec![(Vec::new(), Vec::new()); rows.len()];
                let outs = out.chunks_mut(h * PIECE).zip(branch.chunks_mut(h * PIECE));
                pool::for_each(
                    rows.zip(outs.zip(&mut sums)).enumerate(),
                    |(i, (((grad, norm), inverse), ((out, branch), sums)))| {
                        *sums = dispatch(|| {
                            let sums = backward_piece(grad, norm, inverse, weight, out);
                            copy(dropout, i * h, out, branch);
                            sums
                        });
                    },
                );
                for (weight_part, bias_part) in sums {
                    weight_grad.iter_mut().zip(weight_part).for_each(|(g, p)| *g += p);
                    bias_grad.iter_mut().zip(bias_part).for_each(|(g, p)| *g += p);
                }
            },
        );
        (out, branch)
    }
}

/// Copies a part that begins with block number `block` to `to`, with entries dropped where there is dropout.
#[inline(always)]
fn copy<T: Element, U: Element>(dropout: Option<Dropout>, block: usize, from: &[T], to: &mut [U]) {
    match dropout {
        Some(dropout) => dropout.copy(block, from, to),
        None => to.iter_mut().zip(from).for_each(|(to, v)| *to = U::from_f32(v.to_f32())),
    }
}

/// `count` pieces of `len` entries; of no entries as many times none.
fn pieces_or_none<T>(all: &mut [T], len: usize, count: usize) -> impl ExactSizeIterator<Item = Option<&mut [T]>> {
    let mut pieces = all.chunks_mut(len);
    (0..count).map(move |_| pieces.next())
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

/// `out` and x̂ of a piece of rows from the residual and what `norm` holds beside it, and the rows' 1/√(var + ε).
#[inline(always)]
fn forward_piece(
    residual: &[f32],
    (weight, bias): (&[f32], &[f32]),
    eps: f64,
    (out, norm): (&mut [f32], &mut [f32]),
    inverse: &mut [f32],
) {
    let h = weight.len();
    let targets = out.chunks_exact_mut(h).zip(norm.chunks_exact_mut(h)).zip(inverse);
    for (r, ((out, norm), inverse)) in residual.chunks_exact(h).zip(targets) {
        norm.iter_mut().zip(r).for_each(|(n, r)| *n += r);
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
                let (out, tape) = norm.forward_plain(x.shallow_clone(), None, &residual);
                (out.wide, norm.backward_plain(&grad, &tape, None, Kind::Float).0)
            } else {
                let (out, tape) = norm.forward(x.shallow_clone(), None, &residual);
                (out.wide, norm.backward(&grad, &tape, None, Kind::Float).0)
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

    #[test]
    fn dropout_and_copies_are_those_of_passes_of_their_own() {
        let dropout = Dropout::new(0.3, Some(5));
        for [rows, width] in [[70, 37], [33, 64], [0, 8]] {
            let mut mask = Tensor::ones([rows, width], (Kind::Float, Device::Cpu));
            dropout.unwrap().apply(&mut mask);
            for kind in [Kind::Float, Kind::BFloat16] {
                let (norm, x, shift) = (norm(width), random(&[rows, width]).to_kind(kind), random(&[rows, width]));
                let (out, tape) = norm.forward(x.copy(), dropout, &shift);
                let dropped = x.to_kind(Kind::Float) * &mask;
                let (expected, _) = norm.forward(dropped, None, &shift);
                assert!(out.wide.equal(&expected.wide), "{rows} {width} {kind:?}");
                assert!(out.low.equal(&out.wide.to_kind(kind)) && out.low.kind() == kind);

                let grad = random(&[rows, width]);
                let (residual, branch) = norm.backward(&grad, &tape, dropout, kind);
                assert!(branch.equal(&(&residual * &mask).to_kind(kind)), "{rows} {width} {kind:?}");
                // The plain form rounds once more: what it has dropped, in the kind of x.
                let tolerance = if kind == Kind::Float { 1e-5 } else { 0.02 };
                let close = |a: &Tensor, b: &Tensor| a.allclose(&b.to_kind(a.kind()), tolerance, tolerance, false);
                let (plain, plain_tape) = norm.forward_plain(x.copy(), dropout, &shift);
                assert!(close(&plain.wide, &out.wide) && plain.low.equal(&plain.wide.to_kind(kind)), "{kind:?}");
                let (plain_residual, plain_branch) = norm.backward_plain(&grad, &plain_tape, dropout, kind);
                assert!(close(&plain_residual, &residual) && close(&plain_branch, &branch), "{kind:?}");
            }
        }
    }
}
