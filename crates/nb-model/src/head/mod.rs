//! The heads on top of the encoder: pooling, score, a dense layer, a reader model.
//!
//! They are small, so autograd runs them, except for pooling on the CPU, whose backward pass is written by hand.
//! Their parameters are leaves over their own arenas.

mod attention;
mod attentive;
mod dense;
mod init;
mod mean;
mod pooling;
mod reader;
mod score;
mod transform;

use tch::Tensor;

use crate::packed::Packed;

pub use attention::SelfAttention;
pub use attentive::AttentivePooling;
pub use dense::Dense;
pub use nb_checkpoint::POOLING_QUERY;
pub use pooling::Pooling;
pub use reader::{Clicks, Reader, score};
pub use score::{Score, unit};
pub use transform::Transform;

/// Maps states [n, H] to the state of each sequence's first token, `[CLS]`, [B, H].
pub fn cls_pooling(states: &Tensor, packed: &Packed) -> Tensor {
    states.index_select(0, packed.segments().firsts())
}
