//! Dropout of tensors as a pure function of a key.
//!
//! On the CPU the mask is that of [`nb_kernels::dropout`]; on other devices libtorch's generator is seeded with the key. Either
//! way, the backward pass applies the same [`Dropout`] to the gradient.

use half::bf16;
use nb_kernels::dropout::Dropout;
use nb_torch::cpu_slices::{with_slices, write};
use tch::{Device, Kind, Tensor};

/// Drops entries of a contiguous `x` in place.
pub(crate) fn apply(dropout: Dropout, x: &mut Tensor) {
    match (x.device(), x.kind()) {
        (Device::Cpu, Kind::Float) => with_slices(write::<f32>(x), |x| dropout.apply(x)),
        (Device::Cpu, Kind::BFloat16) => with_slices(write::<bf16>(x), |x| dropout.apply(x)),
        _ => {
            seed_generators(dropout);
            let p = dropout.probability();
            let mask = x.empty_like().bernoulli_float_(1.0 - p);
            let _ = x.g_mul_(&mask).g_mul_scalar_(1.0 / (1.0 - p));
        }
    }
}

/// Seeds libtorch's generators with the key, for the next operation that draws from them.
pub(crate) fn seed_generators(dropout: Dropout) {
    tch::manual_seed(dropout.key() as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_drops_the_given_share_and_scales_the_rest() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            let mut x = Tensor::ones([100_001], (kind, Device::Cpu));
            apply(Dropout::new(0.1, Some(7)).unwrap(), &mut x);
            let kept = x.count_nonzero(None).int64_value(&[]) as f64 / 100_001.0;
            // Five standard errors of a share of 0.9 over 100,000 draws.
            assert!((kept - 0.9).abs() < 5.0 * (0.09_f64 / 1e5).sqrt(), "{kept}");
            let largest = x.to_kind(Kind::Double).max().double_value(&[]);
            assert!((largest - 1.0 / 0.9).abs() < 5e-3, "{largest}");
        }
    }

    #[test]
    fn the_mask_depends_only_on_the_key() {
        let draw = |key, threads| {
            nb_kernels::threads::set(threads);
            let mut x = Tensor::ones([100_003], (Kind::Float, Device::Cpu));
            apply(Dropout::new(0.3, Some(key)).unwrap(), &mut x);
            x
        };
        assert!(draw(1, 1).equal(&draw(1, 3)));
        assert!(!draw(1, 1).equal(&draw(2, 1)));
    }
}
