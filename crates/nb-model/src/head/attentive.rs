//! Attentive pooling: from the rows of a segment to one vector.

mod cpu;

use cpu::Parameters;
use tch::{Device, Kind, Tensor};

use super::init::{Fan, fill_uniform};
use crate::arena::{Arena, Layout};
use crate::segments::Segments;

/// Attentive pooling (Yang et al. 2016, equations 5–7; NewsBERT section 3.1): e = tanh(H W + b), a = softmax(e·q) over the
/// segment's rows, h = Σ_t a_t H_t.
///
/// ```
/// use nb_model::{AttentivePooling, Packed};
/// use tch::{Device, Kind, Tensor};
/// let mut pooling = AttentivePooling::zeros(4, 3, Device::Cpu);
/// pooling.randomise(0);
/// let packed = Packed::new(&[0; 5], &[0; 5], &[2, 3], Device::Cpu);
/// let states = Tensor::ones([5, 4], (Kind::Float, Device::Cpu));
/// // Equal states have equal weights, so the result is their mean.
/// assert!(pooling.forward(&states, packed.segments()).allclose(&Tensor::ones([2, 4], (Kind::Float, Device::Cpu)), 1e-6, 1e-6, false));
/// ```
#[derive(Debug)]
pub struct AttentivePooling {
    arena: Arena,
    weight: Tensor,
    bias: Tensor,
    query: Tensor,
}

impl AttentivePooling {
    /// Creates a pooling of `hidden` units with a query of `query` units, all zeros.
    pub fn zeros(hidden: i64, query: i64, device: Device) -> Self {
        Self::named("pooling", hidden, query, device)
    }

    /// Does the same as [`AttentivePooling::zeros`], with parameters called `<name>.proj.weight` and so on.
    pub fn named(name: &str, hidden: i64, query: i64, device: Device) -> Self {
        let names = ["proj.weight", "proj.bias", "query.weight"].map(|part| format!("{name}.{part}"));
        let mut layout = Layout::default();
        for (name, shape) in names.iter().zip([&[query, hidden][..], &[query], &[1, query]]) {
            layout.push(name, shape);
        }
        let arena = Arena::zeros(layout, device);
        let [weight, bias, query] = names.map(|name| arena.leaf(&name));
        Self { weight, bias, query, arena }
    }

    /// Draws matrices and biases from U(−1/√in, 1/√in), PyTorch's default for a dense layer, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        let fan = |part, inputs| Fan { part, inputs };
        fill_uniform(&self.arena, seed, &[fan(".proj.", self.weight.size()[1]), fan(".query.", self.query.size()[1])]);
    }

    /// Returns parameters and gradients.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Maps `states` [n, H] of all rows to one vector per segment [R, H].
    ///
    /// # Panics
    ///
    /// If the segments do not have n rows in total.
    pub fn forward(&self, states: &Tensor, segments: &Segments) -> Tensor {
        let rows = segments.lengths().iter().sum::<i64>();
        assert_eq!(rows, states.size()[0], "rows of the segments against those of the states");
        if cpu::is_supported(states) {
            return cpu::pool(states, &self.parameters(), segments.lengths());
        }
        // One row of scores per segment, −∞ for the rows of other segments: a softmax and a product then pool without padding.
        let scores = self.recorded_scores(states).view([1, -1]);
        let scores = match segments.lengths() {
            [_] => scores, // no other segment
            _ => scores.masked_fill(&segments.members().logical_not(), f64::NEG_INFINITY),
        };
        scores.softmax(-1, None::<Kind>).matmul(states)
    }

    /// Maps rows [n, H] to the score e·q of each, \[n\], before the softmax over a segment. The score depends only on the row,
    /// so it serves every segment in which the row is pooled. Autograd does not record it.
    pub fn scores(&self, states: &Tensor) -> Tensor {
        if cpu::is_supported(states) {
            return cpu::score(states, &self.parameters()).scores;
        }
        tch::no_grad(|| self.recorded_scores(states))
    }

    fn recorded_scores(&self, states: &Tensor) -> Tensor {
        states.linear(&self.weight, Some(&self.bias)).tanh().linear(&self.query, None::<&Tensor>).view(-1)
    }

    fn parameters(&self) -> Parameters<'_> {
        Parameters { weight: &self.weight, bias: &self.bias, query: &self.query }
    }
}
