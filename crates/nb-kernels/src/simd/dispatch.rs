//! The choice of vector instructions.

use pulp::{Arch, WithSimd};

/// Row widths are rounded up to a multiple of this number, which is a multiple of every vector register's width.
pub(crate) const ALIGN: usize = 16;

/// Runs `kernel` compiled for this processor.
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    Arch::new().dispatch(kernel)
}
