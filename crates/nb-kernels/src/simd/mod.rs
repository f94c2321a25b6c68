//! Small dense kernels on the vector registers of the processor.
//!
//! `pulp` detects once what the processor has (SSE2, AVX2 with FMA, AVX-512, NEON) and runs a kernel that was compiled for it.
//! Everything below a dispatch is inlined, so that it is compiled for those registers too. [`transpose`] is the exception: it
//! detects its instructions itself.

mod activate;
mod exp;
mod memory;
mod panel;
mod small;
mod sums;

pub(crate) use activate::{activate, value_and_slope};
pub(crate) use exp::exp;
pub(crate) use memory::{SQUARE, prefetch, transpose};
pub(crate) use panel::{WIDTH, multiply_panel, pair_up};
use pulp::{Arch, WithSimd};
pub(crate) use small::{Operand, Rhs, multiply_small};
pub(crate) use sums::{sum, sum_product};

/// Widths of rows are rounded up to a multiple of this, which every vector register divides.
pub(crate) const ALIGN: usize = 16;

/// Runs `kernel` compiled for this processor.
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    Arch::new().dispatch(kernel)
}
