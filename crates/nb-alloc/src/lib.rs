//! What training programs on libtorch allocate with: jemalloc, for Rust and C++ alike, so that memory stays flat and a step finds the
//! pages of the last one.
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

/// Has free memory given back to the system when there has been much of it for a minute, from now on until the program ends.
/// Where no thread can be started, it just stays with the program.
pub fn purge_from_time_to_time() {
    #[cfg(target_os = "linux")]
    watch::start();
}
