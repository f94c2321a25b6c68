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
    /// Returns the number of entries of a row of scores in the buffers.
    pub(super) fn keys(self) -> usize {
        self.length.next_multiple_of(ALIGN)
    }

    /// Writes a row of 1 for each key and 0 beyond.
    pub(super) fn mark_keys(self, present: &mut Vec<f32>) {
        let (keys, beyond) = resized(present, self.keys()).split_at_mut(self.length);
        keys.fill(1.0);
        beyond.fill(0.0);
    }

    /// Returns a head's queries, keys or values among those of all heads, side by side.
    pub(super) fn qkv_slice(self, head: usize, part: Part) -> HeadSlice {
        let hidden = self.heads.hidden();
        HeadSlice { stride: 3 * hidden, offset: part as usize * hidden + head * self.heads.size, heads: self.heads }
    }

    /// Returns a head's output among those of all heads.
    pub(super) fn out_slice(self, head: usize) -> HeadSlice {
        HeadSlice { stride: self.heads.hidden(), offset: head * self.heads.size, heads: self.heads }
    }
}
