//! libtorch's process groups as Rust sees them; without the headers that they need at build time there are none to be had.

#[cfg(nb_gloo)]
mod c10d;
#[cfg(nb_gloo)]
pub(crate) use c10d::{Backend, Pending, Store};

#[cfg(not(nb_gloo))]
mod absent;
#[cfg(not(nb_gloo))]
pub(crate) use absent::{Backend, Pending, Store};

/// How tensors of all processes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduce {
    /// Entry by entry their sum.
    Sum,
    /// Entry by entry the largest.
    Max,
}

/// Who keeps a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// Another process.
    Another,
    /// This one, for whoever reaches the machine.
    This,
    /// This one, for processes of its own machine.
    ThisOnLoopback,
}

/// Where a store is kept.
#[derive(Debug)]
pub(crate) struct StoreAt<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) keeper: Keeper,
    /// Before all of its keys.
    pub(crate) prefix: &'a str,
}
