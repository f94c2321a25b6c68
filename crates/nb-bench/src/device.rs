//! Devices: synchronisation before a clock is read, and names of devices and number formats.

use nb_model::Precision;
use tch::Device;

/// Waits until `device` has finished its work. Call this before reading a clock.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// Returns the name of a device as PyTorch spells it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Returns the name of a number format in configurations and results.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}
