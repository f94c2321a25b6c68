//! The layout of rows, panels and sums.

use crate::gemm::operands::{MR, NR};

/// Entries in a word of 32 bits.
pub(super) const WORD: usize = 4;
/// The sums of a micro-tile.
pub(super) type Sums = [[i32; NR]; MR];
