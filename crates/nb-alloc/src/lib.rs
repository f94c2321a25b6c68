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

/// Has free memory given back whenever there is much of it, from now on until the program ends. Where no thread can be started,
/// it just stays with the program.
pub fn give_back_from_time_to_time() {
    drop(thread::Builder::new().name("memory".to_owned()).spawn(|| {
        let mut watch = Watch::default();
        loop {
            thread::sleep(TICK);
            if resident_pages().is_some_and(|pages| watch.is_much(pages)) {
                give_back();
            }
        }
    }));
}

/// Between two looks.
const TICK: Duration = Duration::from_secs(2);
/// By which part of itself memory may grow before what is free is given back.
const GROWTH: u64 = 5;

/// Tells growth from what a program needs: that is back one tick after everything was given back.
#[derive(Debug, Default)]
struct Watch {
    needed: Option<u64>,
}

impl Watch {
    /// Whether so many pages are too many.
    fn is_much(&mut self, pages: u64) -> bool {
        let needed = *self.needed.get_or_insert(pages);
        let is_much = pages > needed + needed / GROWTH;
        if is_much {
            self.needed = None;
        }
        is_much
    }
}

/// Pages that this process holds; none where the system does not say so.
fn resident_pages() -> Option<u64> {
    std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_more_than_a_tick_after_the_last_time_is_much() {
        let mut watch = Watch::default();
        let found = [100, 120, 121, 110, 130, 132, 133, 500, 500].map(|pages| watch.is_much(pages));
        assert_eq!(found, [false, false, true, false, false, false, true, false, false]);
    }
}
