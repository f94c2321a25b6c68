//! Neighbouring parameters with the same weight decay.

use tch::Tensor;

/// A range of a group whose parameters decay alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
    /// True if weight decay applies.
    pub(super) decays: bool,
}

impl Span {
    /// The span's part of a group's buffer.
    pub(super) fn of(self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.start as i64, self.len as i64)
    }
}
