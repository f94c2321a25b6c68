//! The score of two vectors, and its scale in training.

use nb_checkpoint::{ScaleKind, ScoreKind};
use tch::{Device, Kind, Tensor};

use crate::arena::{Arena, Layout};

/// The first value of a learned scale, the usual constant for cosines of sentence vectors.
const FIRST_SCALE: f64 = 20.0;
/// The largest learned scale, as in CLIP (Radford et al. 2021, section 2.5).
const LARGEST_SCALE: f64 = 100.0;

/// The score of two vectors: s · q·h, or s · cos(q, h). The scale s gives a softmax over cosines, which are at most 1, a
/// useful temperature 1/s; a learned s is exp of a parameter and at most 100.
///
/// ```
/// use nb_checkpoint::{ScaleKind, ScoreKind};
/// use nb_model::Score;
/// use tch::{Device, Tensor};
/// let score = Score::new(ScoreKind::Cosine, ScaleKind::Fixed(20.0), Device::Cpu);
/// let vectors = score.vectors(&Tensor::from_slice(&[3f32, 4.0]).view([1, 2]));
/// assert_eq!(Vec::<f32>::try_from(vectors.view(-1)).unwrap(), [0.6, 0.8]);
/// ```
#[derive(Debug)]
pub struct Score {
    kind: ScoreKind,
    scale: Scale,
}

/// The scale of a score.
#[derive(Debug)]
enum Scale {
    Fixed(f64),
    /// ln s, \[1\].
    Learned {
        arena: Arena,
        log: Tensor,
    },
}

impl Score {
    /// Dot products as they are: the score of the NewsBERT paper.
    pub const DOT: Self = Self { kind: ScoreKind::Dot, scale: Scale::Fixed(1.0) };

    /// Creates a score. A learned scale is the parameter `score.log_scale` and starts at 20.
    pub fn new(kind: ScoreKind, scale: ScaleKind, device: Device) -> Self {
        let scale = match scale {
            ScaleKind::Fixed(scale) => Scale::Fixed(scale),
            ScaleKind::Learned => {
                const NAME: &str = "score.log_scale";
                let mut layout = Layout::default();
                layout.push(NAME, &[1]);
                let arena = Arena::zeros(layout, device);
                let _ = arena.values().fill_(FIRST_SCALE.ln());
                Scale::Learned { log: arena.leaf(NAME), arena }
            }
        };
        Self { kind, scale }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ScoreKind {
        self.kind
    }

    /// Returns the parameter of a learned scale, with its gradient.
    pub fn arena(&self) -> Option<&Arena> {
        match &self.scale {
            Scale::Fixed(_) => None,
            Scale::Learned { arena, .. } => Some(arena),
        }
    }

    /// Maps vectors [n, H] to those whose dot products are the unscaled scores: unit vectors for cosines.
    pub fn vectors(&self, vectors: &Tensor) -> Tensor {
        match self.kind {
            ScoreKind::Dot => vectors.shallow_clone(),
            ScoreKind::Cosine => unit(vectors),
        }
    }

    /// Multiplies dot products by the scale.
    pub fn scaled(&self, products: &Tensor) -> Tensor {
        match &self.scale {
            Scale::Fixed(1.0) => products.shallow_clone(),
            Scale::Fixed(scale) => products * *scale,
            Scale::Learned { log, .. } => products * log.clamp_max(LARGEST_SCALE.ln()).exp(),
        }
    }
}

/// Divides each row of `vectors` [n, H] by its length; a row of zeros stays zero.
pub fn unit(vectors: &Tensor) -> Tensor {
    const LEAST: f64 = 1e-12;
    let length = vectors.square().sum_dim_intlist(-1, true, None::<Kind>).clamp_min(LEAST * LEAST).sqrt();
    vectors / length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(t: &Tensor) -> Vec<f64> {
        Vec::try_from(t.to_kind(Kind::Double).view(-1)).unwrap()
    }

    #[test]
    fn unit_vectors_have_length_one_and_zero_stays_zero() {
        let x = Tensor::from_slice(&[3f64, 4.0, 0.0, 0.0]).view([2, 2]).set_requires_grad(true);
        let units = unit(&x);
        assert_eq!(values(&units), [0.6, 0.8, 0.0, 0.0]);
        // d(x₁/‖x‖)/dx = (1/‖x‖)(e₁ − x₁x/‖x‖²) = (16, −12)/125
        units.get(0).get(0).backward();
        let found = values(&x.grad());
        for (found, expected) in found.iter().zip([0.128, -0.096, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        }
    }

    #[test]
    fn a_learned_scale_starts_at_20_and_stops_at_100() {
        let score = Score::new(ScoreKind::Cosine, ScaleKind::Learned, Device::Cpu);
        let one = Tensor::from_slice(&[1f32]);
        assert!((score.scaled(&one).double_value(&[0]) - 20.0).abs() < 1e-4);
        score.scaled(&one).sum(Kind::Float).backward();
        let arena = score.arena().unwrap();
        assert!((arena.grads().double_value(&[0]) - 20.0).abs() < 1e-4, "d(exp x)/dx = exp x");
        let _ = arena.values().fill_(9.0);
        assert!((score.scaled(&one).double_value(&[0]) - 100.0).abs() < 1e-3);
    }

    #[test]
    fn dot_products_are_left_as_they_are() {
        let x = Tensor::from_slice(&[3f32, 4.0]).view([1, 2]);
        assert!(Score::DOT.vectors(&x).equal(&x) && Score::DOT.scaled(&x).equal(&x) && Score::DOT.arena().is_none());
        assert_eq!(values(&Score::new(ScoreKind::Dot, ScaleKind::Fixed(2.0), Device::Cpu).scaled(&x)), [6.0, 8.0]);
    }
}
