//! Training on many processes: sums of gradients over libtorch's own process groups (c10d's Gloo and NCCL), and an end that
//! names the process which died.
//!
//! Processes find each other by the variables that PyTorch's launchers set (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
//! `MASTER_ADDR`, `MASTER_PORT`): [`World::from_env`], then [`ProcessGroup::join`]. A program that knows no launcher is a
//! group of one, [`ProcessGroup::alone`], for which every exchange is free.
//!
//! ```
//! use nb_dist::ProcessGroup;
//! use tch::Tensor;
//! # fn main() -> Result<(), nb_dist::Error> {
//! let processes = ProcessGroup::alone();
//! let mut gradient = Tensor::from_slice(&[1f32, 2.0]);
//! processes.sum(&mut [&mut gradient])?; // of two processes: both gradients' sum, in both
//! assert_eq!((processes.rank(), processes.size()), (0, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # A process that dies or hangs
//!
//! Every process leaves a sign of life each second where all can see it, and counts what it has achieved. Who waits for an
//! exchange looks there: a process without a sign of life, or one that lives and does not come, ends the wait with
//! [`Error::Lost`], which names its rank, within a minute. So does an exchange that all have come to and that does not end.

mod error;
mod group;
mod peers;
mod rendezvous;
mod shim;
mod world;

pub use error::Error;
pub use group::{AtWork, ProcessGroup, Sum};
pub use world::World;

/// Whether this build has process groups: Gloo's headers were there when it was made.
pub const AVAILABLE: bool = shim::Store::IS_THERE;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
