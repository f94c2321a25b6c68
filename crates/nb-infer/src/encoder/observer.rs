//! A view of what dense layers read.

/// The input of a dense layer of an encoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerInput {
    Attention,
    AttentionOutput,
    Intermediate,
    Output,
}

/// Sees the inputs of the dense layers of one encoder layer. `()` does not look, and costs nothing.
pub(crate) trait Observer {
    /// False if inputs need not be in f32 anywhere, because nobody looks.
    const LOOKS: bool;

    /// Sees the input of a dense layer.
    fn see(&mut self, input: LayerInput, numbers: &[f32]);
}

impl Observer for () {
    const LOOKS: bool = false;

    fn see(&mut self, _input: LayerInput, _numbers: &[f32]) {}
}
