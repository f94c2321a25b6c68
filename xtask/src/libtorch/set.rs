//! The sets of libraries that set-up can install, and the one for this machine.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use super::version::VERSION;
use crate::project;

/// A set of libraries that set-up can install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Set {
    /// Libraries for a machine without a GPU
    Cpu,
    /// Libraries for NVIDIA GPUs, several GB
    Cuda,
}

impl Set {
    /// Returns the set for this machine: CUDA if it has NVIDIA's driver.
    pub(crate) fn of_machine() -> Self {
        if nvidia_driver().is_some() { Self::Cuda } else { Self::Cpu }
    }

    /// Returns the folder of this set. It has the layout of the wheels, since the libraries find each other by relative
    /// paths: `torch/lib` next to `nvidia/*/lib`.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        Ok(project::cache()?.join(format!("libtorch-{VERSION}-{self}")))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Returns a file that shows that this machine has NVIDIA's driver.
pub(crate) fn nvidia_driver() -> Option<PathBuf> {
    const SIGNS: [&str; 6] = [
        "/proc/driver/nvidia/version",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/usr/lib64/libcuda.so.1",
        "/usr/lib/libcuda.so.1",
        "/usr/lib/wsl/lib/libcuda.so.1",
        "/usr/local/nvidia/lib64/libcuda.so.1",
    ];
    SIGNS.iter().map(PathBuf::from).find(|path| path.exists())
}
