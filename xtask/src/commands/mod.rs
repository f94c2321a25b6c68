//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod ci;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod fuzz;
pub(crate) mod nb;
pub(crate) mod setup;
pub(crate) mod test;
