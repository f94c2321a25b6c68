//! A thread that returns free memory to the system when there is too much of it.

use std::thread;
use std::time::Duration;

use crate::jemalloc::{free_pages, purge};

/// Time between two samples.
const TICK: Duration = Duration::from_secs(2);
/// Samples before a decision.
const SAMPLES: u32 = 30;
/// Pages that were free at every sample are too many if they exceed 1/`PART` of all pages.
const PART: u64 = 50;

/// Starts the thread, which runs until the program ends.
pub(crate) fn start() {
    drop(thread::Builder::new().name("memory".to_owned()).spawn(|| {
        let mut watch = Watch::default();
        loop {
            thread::sleep(TICK);
            if let (Some(free), Some(all)) = (free_pages(), resident_pages())
                && watch.is_too_much(free, all)
            {
                purge();
            }
        }
    }));
}

/// Distinguishes free memory that the next step will use from memory that no step needs.
#[derive(Debug, Default)]
struct Watch {
    samples: u32,
    least: Option<u64>,
}

impl Watch {
    /// Adds a sample of `free` pages out of `all`. Returns true if too many pages were free at every one of the last
    /// [`SAMPLES`] samples.
    fn is_too_much(&mut self, free: u64, all: u64) -> bool {
        let least = self.least.map_or(free, |least| least.min(free));
        *self = Self { samples: self.samples + 1, least: Some(least) };
        if self.samples < SAMPLES {
            return false;
        }
        *self = Self::default();
        least > all / PART
    }
}

/// Returns the number of this process's resident pages, without those of files, or `None` if the system does not report
/// it.
pub(crate) fn resident_pages() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text.split(' ').skip(1).map(str::parse::<u64>);
    let (resident, of_files) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    resident.checked_sub(of_files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the samples at which too many pages are free, where sample `i` has `free(i)` free pages of 1,000.
    fn count(samples: u64, free: impl Fn(u64) -> u64) -> usize {
        let mut watch = Watch::default();
        (0..samples).filter(|&sample| watch.is_too_much(free(sample), 1_000)).count()
    }

    #[test]
    fn pages_free_at_every_sample_are_too_many() {
        let window = u64::from(SAMPLES);
        assert_eq!([window - 1, window, 3 * window].map(|samples| count(samples, |_| 21)), [0, 1, 3]);
        assert_eq!(count(3 * window, |_| 20), 0);
    }

    #[test]
    fn pages_free_only_between_steps_are_not_too_many() {
        assert_eq!(count(10 * u64::from(SAMPLES), |sample| if sample % 7 == 0 { 15 } else { 600 }), 0);
    }
}
