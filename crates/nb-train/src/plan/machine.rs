//! The machine: the threads and the device that one process uses.

use nb_cpu::Processors;
use nb_model::Precision;
use tch::Device;

use crate::config::{ConfigError, DeviceChoice, PrecisionChoice, ThreadsChoice};

/// The position of a process among the processes of a run on one machine. By default, they divide the cores, and each uses
/// a separate GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalProcess {
    /// Index of the process on this machine, from 0.
    pub rank: usize,
    /// Number of processes on this machine.
    pub count: usize,
}

impl LocalProcess {
    /// The only process of a run on this machine.
    pub const ALONE: Self = Self { rank: 0, count: 1 };

    /// Returns the device for a choice.
    ///
    /// # Errors
    /// If libtorch finds no such device.
    pub fn device(self, choice: DeviceChoice) -> Result<Device, ConfigError> {
        let count = tch::Cuda::device_count() as usize;
        let number = match choice {
            DeviceChoice::Cuda(number) => number,
            // A launcher may make only one GPU visible to each process.
            DeviceChoice::Auto if count > 1 => self.rank,
            DeviceChoice::Auto if count == 1 => 0,
            DeviceChoice::Auto | DeviceChoice::Cpu => return Ok(Device::Cpu),
        };
        if number >= count {
            let why = format!("libtorch finds {count} CUDA devices; run `cargo xtask doctor` for details");
            return Err(ConfigError::conflict("device", DeviceChoice::Cuda(number), why));
        }
        Ok(Device::Cuda(number))
    }

    /// Returns the number of CPU threads for a choice.
    pub(super) fn threads(self, choice: ThreadsChoice) -> usize {
        match choice {
            ThreadsChoice::Auto => (Processors::detect().usable() / self.count).max(1),
            ThreadsChoice::Count(threads) => threads,
        }
    }
}

/// Returns the device for a choice, in the only process of a run on its machine.
///
/// # Errors
/// If libtorch finds no such device.
pub fn device(choice: DeviceChoice) -> Result<Device, ConfigError> {
    LocalProcess::ALONE.device(choice)
}

/// Returns the number format for a choice.
pub fn precision(choice: PrecisionChoice) -> Precision {
    match choice {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Bf16 => Precision::Bf16,
    }
}
