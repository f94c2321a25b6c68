//! The heads on top of the encoder: attentive pooling, a dense layer, a reader model.
//!
//! They are small, so autograd runs them, except for attentive pooling on the CPU, whose backward pass is written by hand.
//! Their parameters are leaves over their own arenas.

mod attention;
mod dense;
mod init;
mod pooling;
mod reader;

use tch::Tensor;

use crate::packed::Packed;

pub use attention::SelfAttention;
pub use dense::Dense;
pub use pooling::{AttentivePooling, POOLING_QUERY};
pub use reader::{Clicks, Reader, score};

/// Maps states [n, H] to the plain mean of each sequence's states, [B, H].
pub fn mean_pooling(states: &Tensor, packed: &Packed) -> Tensor {
    let members = packed.segments().members().to_kind(states.kind());
    members.matmul(states) / members.sum_dim_intlist(-1, true, states.kind())
}

/// Maps states [n, H] to the state of each sequence's first token, `[CLS]`, [B, H].
pub fn cls_pooling(states: &Tensor, packed: &Packed) -> Tensor {
    states.index_select(0, &packed.firsts)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

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
    fn other_sequences_do_not_affect_a_pooled_vector() {
        let mut pooling = AttentivePooling::zeros(4, 3, Device::Cpu);
        pooling.randomise(1);
        let states = Tensor::randn([5, 4], (Kind::Float, Device::Cpu));
        let both = pooling.forward(&states, Packed::new(&[0; 5], &[0; 5], &[2, 3], Device::Cpu).segments());
        let alone =
            pooling.forward(&states.narrow(0, 0, 2), Packed::new(&[0; 2], &[0; 2], &[2], Device::Cpu).segments());
        assert!(both.get(0).allclose(&alone.get(0), 1e-6, 1e-6, false));
    }
}
