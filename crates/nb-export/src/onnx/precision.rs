//! The numbers of an exported model.

use super::calibration::Calibration;

/// The numbers of an exported encoder. Heads are in f32: they are a small part of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum OnnxPrecision {
    /// All weights and computations in f32.
    #[default]
    F32,
    /// Dense layers and word embeddings in int8, a quarter of the size; computations in f32.
    Int8Weights,
    /// Dense layers and word embeddings in int8, and the inputs of dense layers rounded to int8, so that runtimes compute the
    /// products in int8.
    Int8(Calibration),
}

impl OnnxPrecision {
    /// Returns the name in the metadata of files.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8Weights => "int8-weights",
            Self::Int8(_) => "int8",
        }
    }
}
