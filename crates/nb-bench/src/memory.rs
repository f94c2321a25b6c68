//! Peak memory of this process, where the system tells it: Linux.

use std::fs;

/// The most memory this process has held at once since [`reset_peak`], or since it began, in bytes. None elsewhere than
/// on Linux.
pub fn peak_bytes() -> Option<u64> {
    high_water_mark(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Lets the peak begin anew at what is held now, so that one case's does not count as the next one's.
pub fn reset_peak() {
    // Where the system does not offer it, the peak is that of the whole process: more than it should be, never less.
    _ = fs::write("/proc/self/clear_refs", "5");
}

fn high_water_mark(status: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(high_water_mark("VmPeak:\t  9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2_097_152));
        assert_eq!(high_water_mark("Name:\tnb-bench\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_held_counts_until_the_peak_begins_anew() {
        const BYTES: usize = 200 << 20;
        let before = peak_bytes().unwrap();
        let held = vec![1_u8; BYTES];
        assert!(std::hint::black_box(&held)[BYTES - 1] == 1);
        drop(held);
        assert!(peak_bytes().unwrap() >= before.max(BYTES as u64));
    }
}
