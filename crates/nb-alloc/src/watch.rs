//! When free memory is too much.

use std::thread;
use std::time::Duration;

use crate::jemalloc::{free_pages, purge};

/// Between two looks.
const TICK: Duration = Duration::from_secs(2);
/// Looks after which is decided.
const LOOKS: u32 = 30;
/// What was free at every look is too much from this part of all pages on.
const PART: u64 = 50;

/// Begins to look, for as long as the program runs.
pub(crate) fn start() {
    drop(thread::Builder::new().name("memory".to_owned()).spawn(|| {
        let mut watch = Watch::default();
        loop {
            thread::sleep(TICK);
            if let (Some(free), Some(all)) = (free_pages(), own_pages())
                && watch.is_much(free, all)
            {
                purge();
            }
        }
    }));
}

/// Tells free memory that a program soon asks for again, as each of its steps does, from what it does not need.
#[derive(Debug, Default)]
struct Watch {
    looks: u32,
    least: Option<u64>,
}

impl Watch {
    /// Whether, of `all` pages, too many have been free at every look of late, now that `free` are.
    fn is_much(&mut self, free: u64, all: u64) -> bool {
        let least = self.least.map_or(free, |least| least.min(free));
        *self = Self { looks: self.looks + 1, least: Some(least) };
        if self.looks < LOOKS {
            return false;
        }
        *self = Self::default();
        least > all / PART
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

    /// How often is said that it is much, in so many looks at pages of which `free(look)` in 1,000 are free.
    fn often(looks: u64, free: impl Fn(u64) -> u64) -> usize {
        let mut watch = Watch::default();
        (0..looks).filter(|&look| watch.is_much(free(look), 1_000)).count()
    }

    #[test]
    fn what_is_free_at_every_look_is_much() {
        let window = u64::from(LOOKS);
        assert_eq!([window - 1, window, 3 * window].map(|looks| often(looks, |_| 21)), [0, 1, 3]);
        assert_eq!(often(3 * window, |_| 20), 0);
    }

    #[test]
    fn what_is_free_between_steps_alone_is_not() {
        assert_eq!(often(10 * u64::from(LOOKS), |look| if look % 7 == 0 { 15 } else { 600 }), 0);
    }
}
