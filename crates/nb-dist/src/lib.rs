//! Data-parallel training on several processes: sums of gradients through libtorch's process groups (c10d's Gloo and
//! NCCL), and an error that names a process that died.
//!
//! Processes find each other through the variables that PyTorch's launchers set (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
//! `MASTER_ADDR`, `MASTER_PORT`): [`World::from_env`], then [`ProcessGroup::join`]. A program without a launcher is a
//! group of one, [`ProcessGroup::alone`], in which every exchange is free.
//!
//! ```
//! use nb_dist::ProcessGroup;
//! use tch::Tensor;
//! # fn main() -> Result<(), nb_dist::Error> {
//! let processes = ProcessGroup::alone();
//! let mut gradient = Tensor::from_slice(&[1f32, 2.0]);
//! processes.sum(&mut [&mut gradient])?; // with two processes, each now has the sum of both gradients
//! assert_eq!((processes.rank(), processes.size()), (0, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # A process that dies or hangs
//!
//! Every process writes a sign of life to a store each second and counts its progress there. A process that waits for
//! an exchange reads the store: if another process gives no sign of life, or is alive but does not arrive, the wait
//! ends within a minute with [`Error::Lost`], which names the rank of that process. The same error ends the wait for an
//! exchange that every process has entered but that does not complete.

mod error;
mod group;
mod peers;
mod rendezvous;
mod shim;
mod world;

pub use error::Error;
pub use group::{Busy, ProcessGroup, Sum};
pub use world::World;

/// True if this build has process groups: Gloo's headers were present at build time.
pub const AVAILABLE: bool = shim::Store::AVAILABLE;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
