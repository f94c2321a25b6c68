//! Small dense kernels on the vector registers of the processor.
//!
//! `pulp` detects the processor's instructions once (SSE2, AVX2 with FMA, AVX-512, NEON) and runs a kernel compiled for them.
//! Everything below a dispatch is inlined and therefore compiled for the same registers. [`transpose`] is the exception: it
//! detects its instructions itself.

mod activate;
mod dispatch;
mod exp;
mod memory;
mod panel;
mod small;
mod sums;

pub(crate) use activate::{activate, tanh, value_and_slope};
pub(crate) use dispatch::{ALIGN, dispatch};
pub(crate) use exp::{exp, exp_of_low};
pub(crate) use memory::{SQUARE, prefetch, transpose};
pub(crate) use panel::{WIDTH, multiply_panel, pair_up};
pub(crate) use small::{Operand, Rhs, accumulate, multiply_small};
pub(crate) use sums::{sum, sum_product};
