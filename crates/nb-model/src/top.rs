//! What stands on the encoder for a task: attentive pooling and a dense layer.
//!
//! Both are small, so they are left to autograd: their parameters are leaves over an arena of their own.

use tch::{Device, Kind, Tensor};

use crate::arena::{Arena, Layout};
use crate::packed::Packed;

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
/// assert!(pooling.forward(&states, &packed).allclose(&Tensor::ones([2, 4], (Kind::Float, Device::Cpu)), 1e-6, 1e-6, false));
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
        let mut layout = Layout::default();
        layout.push("pooling.proj.weight", &[query, hidden]);
        layout.push("pooling.proj.bias", &[query]);
        layout.push("pooling.query.weight", &[1, query]);
        let arena = Arena::zeros(layout, device);
        let leaf = |name| arena.leaf(name);
        Self {
            weight: leaf("pooling.proj.weight"),
            bias: leaf("pooling.proj.bias"),
            query: leaf("pooling.query.weight"),
            arena,
        }
    }

    /// Draws matrices and biases from U(−1/√in, 1/√in), PyTorch's default for a dense layer, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        uniform(&self.arena, seed, &[("pooling.proj", self.weight.size()[1]), ("pooling.query", self.query.size()[1])]);
    }

    /// Parameters and gradients.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// `states` [n, H] of the packed tokens → one vector per sequence [B, H].
    pub fn forward(&self, states: &Tensor, packed: &Packed) -> Tensor {
        let scores = states.linear(&self.weight, Some(&self.bias)).tanh().linear(&self.query, None::<&Tensor>);
        // One row per sequence with −∞ at the tokens of others: a softmax and a product then pool without padding.
        let scores = scores.view([1, -1]).masked_fill(&packed.members.logical_not(), f64::NEG_INFINITY);
        scores.softmax(-1, None::<Kind>).matmul(states)
    }
}

/// A dense layer z = D h + d from pooled vectors to logits.
#[derive(Debug)]
pub struct Dense {
    arena: Arena,
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// A layer from `inputs` to `outputs` units, all zeros.
    pub fn zeros(inputs: i64, outputs: i64, device: Device) -> Self {
        let mut layout = Layout::default();
        layout.push("dense.weight", &[outputs, inputs]);
        layout.push("dense.bias", &[outputs]);
        let arena = Arena::zeros(layout, device);
        Self { weight: arena.leaf("dense.weight"), bias: arena.leaf("dense.bias"), arena }
    }

    /// Draws weight and bias from U(−1/√in, 1/√in), PyTorch's default for a dense layer, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        uniform(&self.arena, seed, &[("dense", self.weight.size()[1])]);
    }

    /// Parameters and gradients.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// `x` [B, in] → [B, out].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }

    /// Number of outputs.
    pub fn outputs(&self) -> i64 {
        self.weight.size()[0]
    }
}

/// Fills the parameters whose names start with each prefix from U(−1/√in, 1/√in).
fn uniform(arena: &Arena, seed: u64, modules: &[(&str, i64)]) {
    tch::manual_seed(seed as i64);
    for slot in arena.layout().slots() {
        let inputs = modules.iter().find(|(prefix, _)| slot.name.starts_with(prefix)).map_or(1, |m| m.1);
        let bound = 1.0 / (inputs as f64).sqrt();
        let _ = arena.value(&slot.name).uniform_(-bound, bound);
    }
}

/// The plain mean of a sequence's states: [n, H] → [B, H].
pub fn mean_pooling(states: &Tensor, packed: &Packed) -> Tensor {
    let members = packed.members.to_kind(states.kind());
    members.matmul(states) / members.sum_dim_intlist(-1, true, states.kind())
}

/// The state of each sequence's first token, `[CLS]`: [n, H] → [B, H].
pub fn cls_pooling(states: &Tensor, packed: &Packed) -> Tensor {
    states.index_select(0, &packed.firsts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_cls_pooling_by_hand() {
        let packed = Packed::new(&[0; 3], &[0; 3], &[2, 1], Device::Cpu);
        let states = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([3, 2]);
        let values = |t: Tensor| Vec::<f32>::try_from(t.view(-1)).unwrap();
        assert_eq!(values(mean_pooling(&states, &packed)), [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(values(cls_pooling(&states, &packed)), [1.0, 2.0, 5.0, 6.0]);
    }

    #[test]
    fn other_sequences_do_not_touch_a_pooled_vector() {
        let mut pooling = AttentivePooling::zeros(4, 3, Device::Cpu);
        pooling.randomise(1);
        let states = Tensor::randn([5, 4], (Kind::Float, Device::Cpu));
        let both = pooling.forward(&states, &Packed::new(&[0; 5], &[0; 5], &[2, 3], Device::Cpu));
        let alone = pooling.forward(&states.narrow(0, 0, 2), &Packed::new(&[0; 2], &[0; 2], &[2], Device::Cpu));
        assert!(both.get(0).allclose(&alone.get(0), 1e-6, 1e-6, false));
    }
}
