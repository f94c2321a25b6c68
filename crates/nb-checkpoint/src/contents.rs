//! The tensors of a file and their places, whatever the format of the file.

use std::ops::Range;

use safetensors::Dtype;

use crate::view::View;

/// The tensors of a file, sorted by name.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
    /// Remarks for the log.
    pub(crate) remarks: Vec<String>,
}

/// A tensor of a file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place,
}

/// The place of a tensor's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of the file, row by row.
    Bytes(Range<usize>),
    /// Elements of the file in another order, which are copied when the tensor is used.
    View(View),
}
