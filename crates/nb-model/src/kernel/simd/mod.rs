//! Small dense kernels on the vector registers of the machine at hand.
//!
//! `pulp` finds out once what the CPU has (SSE2, AVX2 with FMA, AVX-512, NEON) and runs a kernel that was compiled for it.
//! Everything below a dispatch is inlined, so that it is compiled for those registers too; what [`transpose`] does in registers is
//! not, and asks for itself.

mod activate;
mod exp;
mod memory;
mod panel;
mod product;
mod sums;

pub(crate) use activate::{activate, value_and_slope};
pub(crate) use exp::exp;
pub(crate) use memory::{SQUARE, fetch, transpose};
pub(crate) use panel::{WIDTH, paired, product_of_panel};
pub(crate) use product::{Left, product};
use pulp::{Arch, WithSimd};
pub(crate) use sums::{sum, sum_product};

/// Widths of rows are rounded up to this, a multiple of the entries of every vector register.
pub(crate) const ALIGN: usize = 16;

/// Runs `kernel` compiled for this CPU.
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    Arch::new().dispatch(kernel)
}
