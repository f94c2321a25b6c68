//! The layout of rows, panels, sums and results.

use crate::gemm::operands::{MR, NR};

/// Entries in a word of 32 bits.
pub(super) const WORD: usize = 4;
/// The sums of a micro-tile.
pub(super) type Sums = [[i32; NR]; MR];
/// The places for the results of a micro-tile's rows; `None` beyond the last row.
pub(super) type Results<'a> = [Option<&'a mut [f32; NR]>; MR];

/// The numbers that turn the sums of a panel's columns into results: s_r · scale · (sum − offset) + bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dequantise<'a> {
    pub(super) scales: &'a [f32; NR],
    pub(super) bias: &'a [f32; NR],
    pub(super) offsets: &'a [i32; NR],
}
