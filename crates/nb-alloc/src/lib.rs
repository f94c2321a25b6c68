#![doc = include_str!("../README.md")]

use std::thread;
use std::time::Duration;

#[cfg(target_os = "linux")]
mod jemalloc;
#[cfg(target_os = "linux")]
pub use jemalloc::give_back;

/// Does nothing on this system.
#[cfg(not(target_os = "linux"))]
pub fn give_back() {}

/// Gives back what is free, every ten seconds from now on until the program ends. Where no thread can be started, memory just
/// stays with the program.
pub fn give_back_from_time_to_time() {
    const TIME: Duration = Duration::from_secs(10);
    let thread = thread::Builder::new().name("memory".to_owned());
    drop(thread.spawn(|| {
        loop {
            thread::sleep(TIME);
            give_back();
        }
    }));
}
