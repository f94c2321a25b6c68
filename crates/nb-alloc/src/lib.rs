//! The allocator of training programs on libtorch: jemalloc for Rust and C++, so that memory use stays flat and a step reuses the
//! pages of the step before.
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

/// Starts a thread that returns free memory to the system after there has been much of it for a minute, until the program ends.
/// If no thread can be started, the program keeps its free memory.
pub fn purge_in_background() {
    #[cfg(target_os = "linux")]
    watch::start();
}
