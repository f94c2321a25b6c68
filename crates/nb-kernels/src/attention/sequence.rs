//! One sequence of a batch.

use super::heads::{HeadSlice, Heads};
use super::scratch::resized;
use crate::dropout::Dropout;
use crate::simd::ALIGN;

/// One sequence of the batch, and the dropout of its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sequence {
    pub(super) heads: Heads,
    pub(super) length: usize,
    pub(super) dropout: Option<Dropout>,
}

/// The part of a row that holds queries, keys or values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Query,
    Key,
    Value,
}

impl Sequence {
    /// Returns the width of a row of scores in the buffers: the length, rounded up to a multiple of [`ALIGN`].
    pub(super) fn keys(self) -> usize {
        self.length.next_multiple_of(ALIGN)
    }

    /// Writes a row with 1 for each key and 0 for the padding after them.
    pub(super) fn mark_keys(self, present: &mut Vec<f32>) {
        let (keys, beyond) = resized(present, self.keys()).split_at_mut(self.length);
        keys.fill(1.0);
        beyond.fill(0.0);
    }

    /// Returns the position of a head's queries, keys or values in rows that hold all heads.
    pub(super) fn qkv_slice(self, head: usize, part: Part) -> HeadSlice {
        let hidden = self.heads.hidden();
        HeadSlice { stride: 3 * hidden, offset: part as usize * hidden + head * self.heads.size, heads: self.heads }
    }

    /// Returns the position of a head's output in rows that hold all heads.
    pub(super) fn out_slice(self, head: usize) -> HeadSlice {
        HeadSlice { stride: self.heads.hidden(), offset: head * self.heads.size, heads: self.heads }
    }
}
