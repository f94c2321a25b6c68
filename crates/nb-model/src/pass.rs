//! The options of one pass through the encoder.

/// The number format of the matrix products. Parameters, gradients, LayerNorm and hidden states are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16 products with f32 master weights. (For a single short text on the CPU of which only the last state is captured,
    /// products are f32, with the same bfloat16 weights.)
    Bf16,
}

/// The purpose of one pass through the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// No dropout, no backward pass.
    Inference,
    /// Stores everything that [`Bert::backward`](crate::Bert::backward) needs.
    Training(DropoutKey),
}

impl Pass {
    pub(crate) fn dropout_key(self) -> Option<u64> {
        match self {
            Self::Training(DropoutKey::Key(key)) => Some(key),
            _ => None,
        }
    }
}

/// The source of a training pass's dropout masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropoutKey {
    /// No dropout.
    Off,
    /// Masks are a pure function of this key, the layer and the position: the same key gives the same masks.
    Key(u64),
}

/// The states that a pass returns; each variant includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Capture {
    /// The last hidden state.
    #[default]
    Last,
    /// The embedding output and the output of every layer.
    States,
    /// The attention scores of every layer.
    Scores,
}

/// The activations that a training pass stores until its backward pass (Chen et al. 2016). The gradients are the same bit for
/// bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ActivationCheckpoint {
    /// Everything that the backward pass reads, by far the largest part of the memory of a training run.
    #[default]
    Off,
    /// The input of each layer. The backward pass runs the layer forward again, which adds a third to the computation of a
    /// training step.
    LayerInputs,
}
