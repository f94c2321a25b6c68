//! The connections of a process that has joined a group.

use std::cell::{Cell, OnceCell};
use std::mem::ManuallyDrop;
use std::time::Duration;

use crate::World;
use crate::peers::Peers;
use crate::shim::{Backend, Store};

/// The backends' time limit for an exchange, which is never reached: [`Peers`] decides how long to wait.
pub(super) const UNLIMITED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The connections of a process.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) world: World,
    pub(super) store: Store,
    /// Not dropped after a failed exchange: a thread of Gloo may still wait in it, and dropping would wait for that thread.
    pub(super) gloo: ManuallyDrop<Backend>,
    /// For tensors on a GPU, opened for the first of them. `None` if this build or machine has no NCCL.
    pub(super) nccl: OnceCell<ManuallyDrop<Option<Backend>>>,
    pub(super) peers: Peers,
    /// The number of sums that have started and are not finished.
    pub(super) open_sums: Cell<usize>,
}
