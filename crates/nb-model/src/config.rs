//! The configuration of an encoder, which `nb-checkpoint` reads.

pub(crate) use nb_checkpoint::{Activation, BertConfig};
