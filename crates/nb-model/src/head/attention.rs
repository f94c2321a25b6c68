//! Multi-head self-attention over the rows of a segment, with gradients by autograd. The reader model uses it, not the encoder.

use tch::{Device, Kind, Tensor};

use super::init::{Fan, fill_uniform};
use crate::arena::{Arena, Layout};
use crate::packed::Padding;

/// Multi-head self-attention as in NRMS (Wu et al., EMNLP 2019, section 2.2): each row of a segment becomes Σ_j a_j v_j per
/// head, with a = softmax(q·k/√d) over the segment's rows, heads side by side; no output projection, no residual.
#[derive(Debug)]
pub struct SelfAttention {
    arena: Arena,
    /// Query, key and value.
    projections: [Projection; 3],
    heads: i64,
}

#[derive(Debug)]
struct Projection {
    /// [H, H]
    weight: Tensor,
    /// \[H\]
    bias: Tensor,
}

impl SelfAttention {
    /// Creates attention of `heads` heads over `hidden` units, all zeros. Parameters are called `<name>.query.weight` and so
    /// on.
    ///
    /// # Panics
    ///
    /// If `heads` does not divide `hidden`.
    pub fn named(name: &str, hidden: i64, heads: i64, device: Device) -> Self {
        assert!(heads > 0 && hidden % heads == 0, "cannot divide {hidden} units among {heads} heads");
        let parts = ["query", "key", "value"];
        let mut layout = Layout::default();
        for part in parts {
            layout.push(format!("{name}.{part}.weight"), &[hidden, hidden]);
            layout.push(format!("{name}.{part}.bias"), &[hidden]);
        }
        let arena = Arena::zeros(layout, device);
        let leaf = |part, kind| arena.leaf(&format!("{name}.{part}.{kind}"));
        let projections = parts.map(|part| Projection { weight: leaf(part, "weight"), bias: leaf(part, "bias") });
        Self { arena, projections, heads }
    }

    /// Draws all parameters from U(−1/√H, 1/√H), PyTorch's default for a dense layer, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        fill_uniform(&self.arena, seed, &[Fan { part: "", inputs: self.projections[0].weight.size()[0] }]);
    }

    /// Returns parameters and gradients.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Returns the number of heads.
    pub fn heads(&self) -> i64 {
        self.heads
    }

    /// Maps rows [n, H] of `segments` segments, which `padding` describes, to rows [n, H].
    pub(crate) fn forward(&self, rows: &Tensor, segments: i64, padding: &Padding) -> Tensor {
        let padded = rows.index_select(0, &padding.gather);
        let width = padded.size()[0] / segments;
        let [query, key, value] = std::array::from_fn(|i| {
            let Projection { weight, bias } = &self.projections[i];
            padded.linear(weight, Some(bias)).view([segments, width, self.heads, -1]).transpose(1, 2)
        });
        let scale = (query.size()[3] as f64).sqrt();
        let scores: Tensor = query.matmul(&key.transpose(-2, -1)) / scale + &padding.key_bias;
        let mixed = scores.softmax(-1, None::<Kind>).matmul(&value);
        mixed.transpose(1, 2).reshape([segments * width, -1]).index_select(0, &padding.scatter)
    }
}
