//! AdamW (Loshchilov and Hutter 2019, algorithm 2; as `torch.optim.AdamW`) over parameter arenas.
//!
//! p ← p·(1 − lr·λ), m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε).
//!
//! One pass over each arena scales the gradient (clipping), updates moments and values, and leaves the gradient at zero
//! for the next step. λ applies to matrices only ([`nb_model::Slot::decays`]).
//!
//! On the CPU, table rows that a step did not look up are updated later, before they are read: see `ParamGroup::catch_up`.
//! The result has the same bits as updating all rows in every step.

mod group;
mod norm;
mod piece;
mod rows;
mod span;
mod update;

use nb_torch::Hyperparameters;
use tch::{Device, Tensor};

pub use group::ParamGroup;
pub(crate) use group::TableGradient;
use piece::Factors;
use update::{update_fused, update_host, update_plain};

/// Added to the norm before dividing, as `torch.nn.utils.clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;

/// AdamW's constants.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub epsilon: f64,
    /// Weight decay λ.
    pub weight_decay: f64,
}

/// The L2 norm of the gradient over all groups: a scalar that stays on the device.
///
/// # Panics
/// If there is no group.
pub fn gradient_norm(groups: &[ParamGroup]) -> Tensor {
    let norms: Vec<Tensor> = groups.iter().map(ParamGroup::norm).collect();
    Tensor::stack(&norms, 0).norm()
}

/// Applies all deferred updates ([`ParamGroup::catch_up`]).
pub(crate) fn catch_up(groups: &mut [ParamGroup]) {
    groups.iter_mut().for_each(ParamGroup::catch_up);
}

/// The factor that clips a gradient of norm `norm` to `limit`: 1 if the norm is below it, or if the limit is 0.
pub fn clip_factor(norm: &Tensor, limit: f64) -> Tensor {
    if limit > 0.0 { (limit / (norm + CLIP_EPSILON)).clamp_max(1.0) } else { norm.ones_like() }
}

impl AdamW {
    /// PyTorch's defaults with the given weight decay.
    pub fn new(weight_decay: f64) -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// Applies update number `step` (from 1) to all groups, with every gradient times the scalar `clip` and every peak
    /// rate times `lr_factor`. Gradients are zero afterwards.
    ///
    /// A `clip` of 0 marks a gradient that is not finite: nothing is updated.
    pub fn step(&self, groups: &mut [ParamGroup], step: u64, lr_factor: f64, clip: &Tensor) {
        for group in groups {
            let factors = self.factors(step, group.peak * lr_factor);
            tch::no_grad(|| match group.values.device() {
                Device::Cpu => match clip.double_value(&[]) {
                    0.0 => group.clear_gradient(),
                    clip => update_host(group, factors, clip as f32),
                },
                Device::Cuda(_) => update_fused(group, self.hyperparameters(group.peak * lr_factor), step, clip),
                _ => update_plain(group, factors, clip),
            });
        }
    }

    fn hyperparameters(&self, lr: f64) -> Hyperparameters {
        let Self { beta1, beta2, epsilon, weight_decay } = *self;
        Hyperparameters { lr, beta1, beta2, weight_decay, epsilon }
    }

    fn factors(&self, step: u64, lr: f64) -> Factors {
        let t = step as f64;
        Factors {
            decay: (1.0 - lr * self.weight_decay) as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            rate: (lr / (1.0 - self.beta1.powf(t))) as f32,
            correction: (1.0 / (1.0 - self.beta2.powf(t)).sqrt()) as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nb_model::{Arena, Layout};

    fn arena() -> Arena {
        let mut layout = Layout::default();
        layout.push("weight", &[3, 2]);
        layout.push("bias", &[2]);
        let arena = Arena::zeros(layout, Device::Cpu);
        arena.values().copy_(&Tensor::from_slice(&[0.5f32, -1.0, 2.0, 0.1, -0.3, 0.7, 1.5, -0.2]));
        arena
    }

    fn set_gradient(arena: &Arena, step: u64) {
        let g: Vec<f32> = (0..8).map(|i| ((i + 1) as f32 * 0.1 - 0.35) * step as f32).collect();
        arena.grads().copy_(&Tensor::from_slice(&g));
    }

    /// The update written out in f64, entry by entry.
    fn formula(steps: u64, lr: f64, decay: f64) -> Vec<f64> {
        let mut p: Vec<f64> = vec![0.5, -1.0, 2.0, 0.1, -0.3, 0.7, 1.5, -0.2];
        let (mut m, mut v) = (vec![0.0; 8], vec![0.0; 8]);
        for t in 1..=steps {
            for i in 0..8 {
                let g = ((i + 1) as f64 * 0.1 - 0.35) * t as f64;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let weight_decay = if i < 6 { decay } else { 0.0 };
                let (mh, vh) = (m[i] / (1.0 - 0.9_f64.powf(t as f64)), v[i] / (1.0 - 0.999_f64.powf(t as f64)));
                p[i] = p[i] * (1.0 - lr * weight_decay) - lr * mh / (vh.sqrt() + 1e-8);
            }
        }
        p
    }

    /// The implementations of an update.
    const IMPLEMENTATIONS: [&str; 3] = ["host", "plain", "fused"];

    /// Applies update `step` with one of the implementations, at a learning rate of 0.01.
    fn update(implementation: &str, optimiser: &AdamW, group: &mut ParamGroup, step: u64, clip: f64) {
        let clip = Tensor::from(clip);
        match implementation {
            "host" => optimiser.step(std::slice::from_mut(group), step, 1.0, &clip),
            "plain" => update_plain(group, optimiser.factors(step, 1e-2), &clip),
            _ => update_fused(group, optimiser.hyperparameters(1e-2), step, &clip),
        }
    }

    #[test]
    fn three_steps_follow_the_formula_in_every_implementation() {
        let expected = formula(3, 1e-2, 0.1);
        for implementation in IMPLEMENTATIONS {
            let arena = arena();
            let mut group = ParamGroup::new(&arena, 1e-2);
            for step in 1..=3 {
                set_gradient(&arena, step);
                update(implementation, &AdamW::new(0.1), &mut group, step, 1.0);
            }
            let found = Vec::<f32>::try_from(arena.values()).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{implementation}: {found}, expected {expected}");
            }
            assert_eq!(arena.grads().abs().max().double_value(&[]), 0.0);
        }
    }

    #[test]
    fn a_clip_factor_of_zero_changes_nothing() {
        let optimiser = AdamW::new(0.1);
        for implementation in IMPLEMENTATIONS {
            let arena = arena();
            let mut group = ParamGroup::new(&arena, 1e-2);
            set_gradient(&arena, 1);
            update("host", &optimiser, &mut group, 1, 1.0);
            let before = group.state().map(|(_, tensor)| tensor.copy());
            let _ = arena.grads().fill_(f64::NAN);
            update(implementation, &optimiser, &mut group, 2, 0.0);
            for ((name, after), before) in group.state().iter().zip(&before) {
                assert!(after.equal(before), "{name}, {implementation}");
            }
            assert_eq!(arena.grads().abs().max().double_value(&[]), 0.0);
        }
    }

    #[test]
    fn a_group_whose_state_is_reset_starts_over() {
        let updated = |resets: bool| {
            let arena = arena();
            let mut group = ParamGroup::new(&arena, 1e-2);
            let optimiser = AdamW::new(0.0);
            if resets {
                set_gradient(&arena, 5);
                optimiser.step(std::slice::from_mut(&mut group), 1, 0.0, &Tensor::from(1.0)); // changes only moments
                group.reset_state();
            }
            set_gradient(&arena, 1);
            optimiser.step(std::slice::from_mut(&mut group), 1, 1.0, &Tensor::from(1.0));
            arena.values().copy()
        };
        assert!(updated(true).equal(&updated(false)));
    }

    #[test]
    fn clipping_matches_pytorch() {
        let factor = |norm: f64, limit| clip_factor(&Tensor::from(norm), limit).double_value(&[]);
        assert_eq!(factor(0.5, 1.0), 1.0);
        assert_eq!(factor(5.0, 0.0), 1.0);
        assert!((factor(4.0, 1.0) - 1.0 / 4.000_001).abs() < 1e-15);
    }
}
