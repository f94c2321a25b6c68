//! Attentive pooling: from the rows of a run to one vector.

mod host;

use tch::{Device, Kind, Tensor};

use super::uniform;
use crate::arena::{Arena, Layout};
use crate::runs::Runs;

/// The width Q of the pooling query that NewsBERT uses.
pub const POOLING_QUERY: i64 = 200;

/// Attentive pooling (Yang et al. 2016, equations 5–7; NewsBERT section 3.1): e = tanh(H W + b), a = softmax(e·q) over the
/// sequence's tokens, h = Σ_t a_t H_t.
///
/// ```
/// use nb_model::{AttentivePooling, Packed};
/// use tch::{Device, Kind, Tensor};
/// let mut pooling = AttentivePooling::zeros(4, 3, Device::Cpu);
/// pooling.randomise(0);
/// let packed = Packed::new(&[0; 5], &[0; 5], &[2, 3], Device::Cpu);
/// let states = Tensor::ones([5, 4], (Kind::Float, Device::Cpu));
/// // Equal states have equal weights, so their mean comes out.
/// assert!(pooling.forward(&states, packed.runs()).allclose(&Tensor::ones([2, 4], (Kind::Float, Device::Cpu)), 1e-6, 1e-6, false));
/// ```
#[derive(Debug)]
pub struct AttentivePooling {
    arena: Arena,
    weight: Tensor,
    bias: Tensor,
    query: Tensor,
}

impl AttentivePooling {
    /// Pooling of `hidden` units with a query of `query` units, all zeros.
    pub fn zeros(hidden: i64, query: i64, device: Device) -> Self {
        Self::named("pooling", hidden, query, device)
    }

    /// As [`AttentivePooling::zeros`], with parameters called `<name>.proj.weight` and so on.
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
        uniform(&self.arena, seed, &[(".proj.", self.weight.size()[1]), (".query.", self.query.size()[1])]);
    }

    /// Parameters and gradients.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// `states` [n, H] of all rows → one vector per run [R, H].
    pub fn forward(&self, states: &Tensor, runs: &Runs) -> Tensor {
        assert_eq!(
            runs.lengths().iter().sum::<i64>(),
            states.size()[0],
            "rows of the runs against those of the states"
        );
        if host::pays(states) {
            return host::pooled(states, self.parameters(), runs.lengths());
        }
        // One row per run with −∞ at the rows of others: a softmax and a product then pool without padding.
        let scores = self.recorded_scores(states).view([1, -1]);
        let scores = match runs.lengths() {
            [_] => scores, // there are no others
            _ => scores.masked_fill(&runs.members().logical_not(), f64::NEG_INFINITY),
        };
        scores.softmax(-1, None::<Kind>).matmul(states)
    }

    /// e·q of each row, before the softmax over a run: [n, H] → \[n\]. It depends on the row alone, so that rows which are
    /// pooled in many runs need it once. It is not recorded by autograd.
    pub fn scores(&self, states: &Tensor) -> Tensor {
        if host::pays(states) {
            return host::scores(states, &self.parameters()).1;
        }
        tch::no_grad(|| self.recorded_scores(states))
    }

    fn recorded_scores(&self, states: &Tensor) -> Tensor {
        states.linear(&self.weight, Some(&self.bias)).tanh().linear(&self.query, None::<&Tensor>).view(-1)
    }

    fn parameters(&self) -> [&Tensor; 3] {
        [&self.weight, &self.bias, &self.query]
    }
}
