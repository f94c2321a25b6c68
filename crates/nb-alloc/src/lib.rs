//! The allocator for training programs on libtorch: jemalloc for Rust and C++. Memory use stays flat, and a step reuses
//! the pages of the previous step.
//!
#![doc = include_str!("../README.md")]

#[cfg(target_os = "linux")]
mod jemalloc;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
pub use jemalloc::purge;

/// Does nothing on this system.
#[cfg(not(target_os = "linux"))]
pub fn purge() {}

/// Starts a thread that returns free memory to the system when there has been much of it for a minute. The thread runs
/// until the program ends. If it cannot be started, the program keeps its free memory.
pub fn purge_in_background() {
    #[cfg(target_os = "linux")]
    watch::start();
}
