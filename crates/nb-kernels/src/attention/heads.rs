//! The heads of a layer, and the position of one head's entries in rows that hold all heads.

use super::scratch::resized;
use crate::float::Float;
use crate::simd::{ALIGN, prefetch};

/// The heads of a layer of H = `count`·`size` hidden units.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Number of heads A.
    pub count: usize,
    /// Number of entries D per head.
    pub size: usize,
}

impl Heads {
    /// Divides `hidden` units among `count` heads.
    ///
    /// # Panics
    ///
    /// If `count` does not divide `hidden`.
    pub fn new(hidden: usize, count: usize) -> Self {
        assert!(count > 0 && hidden.is_multiple_of(count), "cannot divide {hidden} units among {count} heads");
        Self { count, size: hidden / count }
    }

    /// Returns the number of hidden units H.
    pub fn hidden(self) -> usize {
        self.count * self.size
    }

    /// Returns the width of a head's rows in the buffers: D, rounded up to a multiple of [`ALIGN`].
    pub(super) fn width(self) -> usize {
        self.size.next_multiple_of(ALIGN)
    }

    /// Returns 1/√D.
    pub(super) fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

/// The position of one head's entries in rows that hold all heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadSlice {
    /// Entries per row.
    pub(super) stride: usize,
    /// The head's first entry in a row.
    pub(super) offset: usize,
    pub(super) heads: Heads,
}

impl HeadSlice {
    /// Writes the head's entries of `rows`, times `scale`, to `out` [length rounded up, width]. Entries beyond the sequence
    /// (needed for transposing) and beyond D are 0.
    #[inline(always)]
    pub(super) fn read<T: Float>(self, rows: &[T], scale: f32, out: &mut Vec<f32>) {
        let (size, width) = (self.heads.size, self.heads.width());
        let length = rows.len() / self.stride;
        let out = resized(out, length.next_multiple_of(ALIGN) * width);
        let (out, beyond) = out.split_at_mut(length * width);
        beyond.fill(0.0);
        for (row, out) in rows.chunks_exact(self.stride).zip(out.chunks_exact_mut(width)) {
            let (head, rest) = out.split_at_mut(size);
            head.iter_mut().zip(&row[self.offset..]).for_each(|(out, x)| *out = x.to_f32() * scale);
            rest.fill(0.0);
        }
    }

    /// Prefetches the next head's entries of each row. They are a complete row of all heads apart, a stride that hardware
    /// prefetchers do not predict.
    #[inline(always)]
    pub(super) fn prefetch_next<T: Float>(self, rows: &[T]) {
        let next = self.offset + self.heads.size;
        for row in rows.chunks_exact(self.stride) {
            prefetch(&row[next.min(row.len())..row.len().min(next + self.heads.size)]);
        }
    }

    /// Writes `from` [length, width], times `scale`, to the head's entries of `rows`.
    #[inline(always)]
    pub(super) fn write<T: Float>(self, from: &[f32], scale: f32, rows: &mut [T]) {
        for (row, from) in rows.chunks_exact_mut(self.stride).zip(from.chunks_exact(self.heads.width())) {
            let head = &mut row[self.offset..self.offset + self.heads.size];
            head.iter_mut().zip(from).for_each(|(out, x)| *out = T::from_f32(*x * scale));
        }
    }
}
