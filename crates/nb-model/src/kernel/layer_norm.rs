//! LayerNorm of a sum, y = γ·x̂ + β with x̂ = (r − mean r)/√(var r + ε) and r = dropout(x) + residual (Ba et al. 2016).
//!
//! The mean and the (biased) variance are taken over the H units of a row. On the CPU one pass of [`nb_kernels::layer_norm`]
//! over each row does everything, including dropout and the copy in the precision of the products.

use half::bf16;
use nb_kernels::Float;
use nb_kernels::dropout::Dropout;
use nb_kernels::layer_norm::{Backward, Forward, ParameterGrads, Parameters};
use nb_torch::cpu_slices::{TensorElement, read, with_slices, write};
use tch::{Device, Kind, Tensor};

use super::dropout;
use super::grads::Grads;
use crate::arena::Arena;

/// Views of one LayerNorm's parameters and gradients, all \[H\] and f32.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    /// `None` if the parameters are not trained.
    pub(crate) grads: Option<Grads>,
    pub(crate) eps: f64,
}

/// The input of the backward pass: x̂ [n, H] and 1/√(var + ε) [n, 1].
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
    /// Pairs `wide` (f32) with its copy in `kind`.
    pub(crate) fn new(wide: Tensor, kind: Kind) -> Self {
        Self { low: wide.to_kind(kind), wide }
    }
}

impl LayerNorm {
    /// Creates views of the parameters `{name}.weight` and `{name}.bias` of `arena`.
    pub(crate) fn in_arena(arena: &Arena, name: &str, eps: f64) -> Self {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        Self {
            weight: arena.value(&weight),
            bias: arena.value(&bias),
            grads: Grads::in_arena(arena, &weight, &bias),
            eps,
        }
    }

    /// Normalises dropout(`x`) + `residual`, both [n, H], the residual f32. `x`, in the precision of the products, is consumed.
    pub(crate) fn forward(&self, x: Tensor, dropout: Option<Dropout>, residual: &Tensor) -> (State, NormTape) {
        match (x.device(), x.kind()) {
            (Device::Cpu, Kind::Float) => self.forward_cpu::<f32>(&x, dropout, residual),
            (Device::Cpu, Kind::BFloat16) => self.forward_cpu::<bf16>(&x, dropout, residual),
            _ => self.forward_plain(x, dropout, residual),
        }
    }

    /// Adds dL/dγ and dL/dβ to the arena if they are trained, from dL/dy. Returns dL/d`residual` in f32 and, with the same
    /// dropout, dL/d`x` in `kind`.
    pub(crate) fn backward(
        &self,
        grad: &Tensor,
        tape: &NormTape,
        dropout: Option<Dropout>,
        kind: Kind,
    ) -> (Tensor, Tensor) {
        match (grad.device(), kind) {
            (Device::Cpu, Kind::Float) => self.backward_cpu::<f32>(grad, tape, dropout),
            (Device::Cpu, Kind::BFloat16) => self.backward_cpu::<bf16>(grad, tape, dropout),
            _ => self.backward_plain(grad, tape, dropout, kind),
        }
    }

    fn forward_plain(&self, mut x: Tensor, dropout: Option<Dropout>, residual: &Tensor) -> (State, NormTape) {
        let kind = x.kind();
        if let Some(dropout) = dropout {
            dropout::apply(dropout, &mut x);
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
        if let Some(grads) = &self.grads {
            let _ = grads.weight.shallow_clone().g_add_(&(grad * x).sum_dim_intlist(0, false, Kind::Float));
            let _ = grads.bias.shallow_clone().g_add_(&grad.sum_dim_intlist(0, false, Kind::Float));
        }
        let g = grad * &self.weight;
        let along = x * (&g * x).mean_dim(-1, true, Kind::Float);
        let residual = (&g - g.mean_dim(-1, true, Kind::Float) - along) * &tape.inverse_deviation;
        let mut branch = if kind == Kind::Float { residual.copy() } else { residual.to_kind(kind) };
        if let Some(dropout) = dropout {
            dropout::apply(dropout, &mut branch);
        }
        (residual, branch)
    }

    fn forward_cpu<T: TensorElement + Float>(
        &self,
        x: &Tensor,
        dropout: Option<Dropout>,
        residual: &Tensor,
    ) -> (State, NormTape) {
        let (x, residual) = (x.contiguous(), residual.contiguous());
        let (rows, width) = x.size2().unwrap_or_else(|e| panic!("LayerNorm takes [n, H]: {e}"));
        let new = |width, kind| Tensor::empty([rows, width], (kind, Device::Cpu));
        let (mut out, mut normalised) = (new(width, Kind::Float), new(width, Kind::Float));
        let mut inverse = new(1, Kind::Float);
        let mut low = new(if T::KIND == Kind::Float { 0 } else { width }, T::KIND);
        let eps = self.eps;
        with_slices(
            (
                (read::<T>(&x), write::<T>(&mut low)),
                [&residual, &self.weight, &self.bias].map(read::<f32>),
                [&mut out, &mut normalised, &mut inverse].map(write::<f32>),
            ),
            |((x, low), [residual, weight, bias], [out, normalised, inverse_deviation])| {
                let forward = Forward { x, residual, out, normalised, inverse_deviation, low };
                forward.run(&Parameters { weight, bias, eps }, dropout);
            },
        );
        let low = if T::KIND == Kind::Float { out.shallow_clone() } else { low };
        (State { wide: out, low }, NormTape { normalised, inverse_deviation: inverse })
    }

    fn backward_cpu<T: TensorElement + Float>(
        &self,
        grad: &Tensor,
        tape: &NormTape,
        dropout: Option<Dropout>,
    ) -> (Tensor, Tensor) {
        let grad = grad.contiguous();
        let (mut residual, mut branch) = (grad.empty_like(), Tensor::empty(grad.size(), (T::KIND, Device::Cpu)));
        // The kernel adds to gradients in any case; those of parameters that are not trained are dropped.
        let [mut weight_grad, mut bias_grad] = match &self.grads {
            Some(grads) => [grads.weight.shallow_clone(), grads.bias.shallow_clone()],
            None => [self.weight.zeros_like(), self.bias.zeros_like()],
        };
        with_slices(
            (
                [&grad, &tape.normalised, &tape.inverse_deviation, &self.weight].map(read::<f32>),
                [&mut residual, &mut weight_grad, &mut bias_grad].map(write::<f32>),
                write::<T>(&mut branch),
            ),
            |([grad, normalised, inverse_deviation, gamma], [residual_grad, weight, bias], x_grad)| {
                let backward = Backward { grad, normalised, inverse_deviation, residual_grad, x_grad };
                backward.run(gamma, dropout, &mut ParameterGrads { weight, bias });
            },
        );
        (residual, branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn norm(h: i64) -> LayerNorm {
        let zeros = || Tensor::zeros([h], (Kind::Float, Device::Cpu));
        LayerNorm {
            weight: random(&[h]),
            bias: random(&[h]),
            grads: Some(Grads { weight: zeros(), bias: zeros() }),
            eps: 1e-12,
        }
    }

    /// Uses 70 rows of 37 units, which fill neither pieces nor lanes.
    #[test]
    fn both_forms_match_libtorchs_layer_norm() {
        tch::manual_seed(1);
        let (norm, x, residual, grad) = (norm(37), random(&[70, 37]), random(&[70, 37]), random(&[70, 37]));
        let r = (&x + &residual).set_requires_grad(true);
        let (w, b) = (norm.weight.copy().set_requires_grad(true), norm.bias.copy().set_requires_grad(true));
        let expected = r.layer_norm([37], Some(&w), Some(&b), 1e-12, false);
        let expected_grads = Tensor::run_backward(&[(&expected * &grad).sum(Kind::Float)], &[&r, &w, &b], false, false);

        for plain in [false, true] {
            let grads = norm.grads.as_ref().unwrap();
            let _ = (grads.weight.shallow_clone().zero_(), grads.bias.shallow_clone().zero_());
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
                (grads.weight.shallow_clone(), expected_grads[1].shallow_clone()),
                (grads.bias.shallow_clone(), expected_grads[2].shallow_clone()),
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
    fn dropout_and_copies_match_separate_passes() {
        let dropout = Dropout::new(0.3, Some(5));
        for [rows, width] in [[70, 37], [33, 64], [0, 8]] {
            let mut mask = Tensor::ones([rows, width], (Kind::Float, Device::Cpu));
            super::super::dropout::apply(dropout.unwrap(), &mut mask);
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
                // The plain form rounds once more: the result of dropout, to the kind of x.
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
