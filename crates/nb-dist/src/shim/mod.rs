//! libtorch's process groups as Rust types. A build without the required headers has no process groups.

#[cfg(nb_gloo)]
mod c10d;
#[cfg(nb_gloo)]
pub(crate) use c10d::{Backend, Pending, Store};

#[cfg(not(nb_gloo))]
mod absent;
#[cfg(not(nb_gloo))]
pub(crate) use absent::{Backend, Pending, Store};

/// The operation that combines the tensors of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduce {
    /// The sum of each entry.
    Sum,
    /// The largest value of each entry.
    Max,
}

/// The process that hosts a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreHost {
    /// Another process.
    Other,
    /// This process, for every process that can reach the machine.
    This,
    /// This process, for processes on the same machine.
    ThisOnLoopback,
}

/// The address of a store.
#[derive(Debug)]
pub(crate) struct StoreAddress<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) hosted_by: StoreHost,
    /// The prefix of all keys.
    pub(crate) prefix: &'a str,
}
