//! The choice of vector instructions.

use pulp::{Arch, WithSimd};

/// Widths of rows are rounded up to a multiple of this, which every vector register divides.
pub(crate) const ALIGN: usize = 16;

/// Runs `kernel` compiled for this processor.
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    Arch::new().dispatch(kernel)
}
