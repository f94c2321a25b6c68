//! A named tensor as bytes.

use safetensors::Dtype;

/// A named tensor as bytes, little-endian and row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorBytes<'a> {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements. The type and the shape determine the number of bytes.
    pub bytes: &'a [u8],
}

impl TensorBytes<'_> {
    /// Returns the shape in the type that tensor libraries use; `None` if a dimension is too large for it. (If one
    /// dimension is 0, another can be of any size.)
    pub fn signed_shape(&self) -> Option<Vec<i64>> {
        self.shape.iter().map(|&size| i64::try_from(size).ok()).collect()
    }
}
