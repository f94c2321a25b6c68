//! The environment of a measurement: machine, libraries, commit.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The machine that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Number of cores that this process may use.
    pub cores: usize,
    /// Number of CPU threads on each side.
    pub threads: usize,
    /// Number of busy threads beside both sides.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub busy_threads: usize,
    /// Memory in bytes, if the system reports it.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub os: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Version of libtorch.
    pub libtorch: String,
}

/// Conditions of a measurement, the same for both sides.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Number of CPU threads on each side.
    pub threads: usize,
    /// Number of busy threads beside both sides.
    pub busy_threads: usize,
}

/// Decides which numbers are left out of the file.
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Host {
    /// Detects this machine. `conditions` and `device` describe the measurement.
    pub fn detect(conditions: Conditions, device: tch::Device) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: nb_cpu::name(),
            cores: nb_cpu::Processors::detect().usable(),
            threads: conditions.threads,
            busy_threads: conditions.busy_threads,
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            device: crate::device::name(device),
            // libtorch does not report its version; tch is pinned to this one.
            libtorch: "2.11.0".to_owned(),
        }
    }
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kilobytes = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

/// Returns the commit of the source tree, with the suffix `-dirty` if files were changed. Returns `None` outside a
/// repository.
pub fn commit() -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("git");
    command.args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]).current_dir(folder);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|commit| !commit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_proc_meminfo() {
        assert_eq!(memory_bytes(""), None);
        assert_eq!(memory_bytes("MemTotal:       16384 kB\n"), Some(16_777_216));
    }
}
