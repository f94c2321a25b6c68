//! The number of processors that this process may use.

use std::fmt;

/// The processors that this process may use.
///
/// ```
/// let processors = nb_cpu::Processors::detect();
/// assert!((1..=processors.allowed()).contains(&processors.usable()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processors {
    allowed: usize,
    usable: usize,
}

impl Processors {
    /// Reads the affinity and the CPU quota of this process.
    pub fn detect() -> Self {
        // std knows the quotas of all groups above this process, rounded down; num_cpus that of its own group, rounded up.
        let rounded_down = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let usable = num_cpus::get().clamp(1, rounded_down + 1);
        Self { allowed: affinity().unwrap_or(usable).max(usable), usable }
    }

    /// Returns the number of processors that the system may schedule this process on: all of the machine, or those of its
    /// affinity (`taskset`, `docker run --cpuset-cpus`).
    pub fn allowed(self) -> usize {
        self.allowed
    }

    /// Returns the number of threads that can compute at the same time: [`Processors::allowed`], or the CPU quota of the
    /// container (`docker run --cpus`) if it is lower, rounded up.
    pub fn usable(self) -> usize {
        self.usable
    }
}

/// Reads like `8 processors` or `2 of 8 processors, as the CPU quota allows`.
impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, usable } = *self;
        if usable < allowed {
            write!(f, "{usable} of ")?;
        }
        write!(f, "{allowed} processor{}", if allowed == 1 { "" } else { "s" })?;
        if usable < allowed {
            f.write_str(", as the CPU quota allows")?;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn affinity() -> Option<usize> {
    Some(rustix::thread::sched_getaffinity(None).ok()?.count() as usize)
}

#[cfg(not(target_os = "linux"))]
fn affinity() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_named() {
        let shown = |allowed, usable| Processors { allowed, usable }.to_string();
        assert_eq!(shown(1, 1), "1 processor");
        assert_eq!(shown(8, 8), "8 processors");
        assert_eq!(shown(8, 2), "2 of 8 processors, as the CPU quota allows");
    }
}
