//! A matrix in a file whose rows are read when they are needed, such as the embeddings of words: most words of a vocabulary occur
//! rarely.

use half::{bf16, f16};

use crate::bytes::Slice;

/// A matrix in a file, or mapped memory, whose rows are converted to f32 when they are read. Its numbers are not checked: one that is NaN or infinite shows in the outputs.
#[derive(Debug)]
pub struct TensorTable {
    bytes: Slice,
    numbers: Numbers,
    columns: usize,
}

/// The numbers of a table in the file.
#[derive(Debug)]
pub(crate) enum Numbers {
    F32,
    F16,
    Bf16,
    F64,
    /// 8 bits, with the scale of each row.
    Int8(Vec<f32>),
}

impl TensorTable {
    /// Returns the matrix in some bytes of a file, whose length fits its numbers.
    pub(crate) fn new(bytes: Slice, numbers: Numbers, columns: usize) -> Self {
        Self { bytes, numbers, columns }
    }

    /// Appends row `index` to `out`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn append_row(&self, index: usize, out: &mut Vec<f32>) {
        let len = self.columns * self.numbers.width();
        let bytes = &self.bytes[index * len..][..len];
        match &self.numbers {
            Numbers::F32 => out.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
            Numbers::F16 => out.extend(bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32())),
            Numbers::Bf16 => out.extend(bytes.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32())),
            Numbers::F64 => out.extend(bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32)),
            Numbers::Int8(scales) => {
                let scale = scales[index];
                out.extend(bytes.iter().map(|&byte| f32::from(byte.cast_signed()) * scale));
            }
        }
    }
}

impl Numbers {
    /// Returns the bytes of a number.
    fn width(&self) -> usize {
        match self {
            Self::Int8(_) => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}
