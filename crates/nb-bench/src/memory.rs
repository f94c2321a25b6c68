//! Peak memory of this process, on Linux.

use std::fs;

/// Returns the peak memory of this process in bytes, since the last [`reset_peak`] or since its start. Returns `None` on
/// systems other than Linux.
pub fn peak_bytes() -> Option<u64> {
    high_water_mark(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Resets the peak to the current memory use, to measure a separate peak for each case.
pub fn reset_peak() {
    // If the system does not support a reset, the peak covers the lifetime of the process: an overestimate, never an
    // underestimate.
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
    fn freed_memory_counts_towards_the_peak() {
        const BYTES: usize = 200 << 20;
        let before = peak_bytes().unwrap();
        let buffer = vec![1_u8; BYTES];
        assert!(std::hint::black_box(&buffer)[BYTES - 1] == 1);
        drop(buffer);
        assert!(peak_bytes().unwrap() >= before.max(BYTES as u64));
    }
}
