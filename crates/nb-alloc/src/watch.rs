//! When there is much free memory.

use std::thread;
use std::time::Duration;

use crate::purge;

/// Between two looks.
const TICK: Duration = Duration::from_secs(2);
/// By which part of itself memory may grow before what is free is given back.
const GROWTH: u64 = 5;
/// Ticks after which it is given back in any case: a program may need less than before.
const LONGEST: u32 = 150;

/// Begins to look, for as long as the program runs.
pub(crate) fn start() {
    drop(thread::Builder::new().name("memory".to_owned()).spawn(|| {
        let mut watch = Watch::default();
        loop {
            thread::sleep(TICK);
            if own_pages().is_some_and(|pages| watch.is_much(pages)) {
                purge();
            }
        }
    }));
}

/// Tells growth from what a program needs: that is back one tick after everything was given back.
#[derive(Debug, Default)]
struct Watch {
    needed: Option<u64>,
    ticks: u32,
}

impl Watch {
    /// Whether so many pages are too many, or it has been long.
    fn is_much(&mut self, pages: u64) -> bool {
        let needed = *self.needed.get_or_insert(pages);
        self.ticks += 1;
        let is_much = pages > needed + needed / GROWTH || self.ticks == LONGEST;
        if is_much {
            *self = Self::default();
        }
        is_much
    }
}

/// Pages that this process holds, those of files left out; none where the system does not say so.
pub(crate) fn own_pages() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text.split(' ').skip(1).map(str::parse::<u64>);
    let (resident, of_files) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    resident.checked_sub(of_files)
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

    /// Nobody sees from outside that what was needed is free.
    #[test]
    fn so_is_what_was_not_looked_at_for_long() {
        let mut watch = Watch::default();
        let times = (0..2 * LONGEST).filter(|_| watch.is_much(100)).count();
        assert_eq!(times, 2);
    }
}
