//! A tensor of an exported model.

/// A tensor of an exported model.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}
