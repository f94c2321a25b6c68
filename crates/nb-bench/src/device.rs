//! Where is measured: clocks on devices that work asynchronously, and number formats by name.

use nb_model::Precision;
use tch::Device;

/// Waits until `device` has done what was asked of it; to be called before each reading of a clock.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// The name that PyTorch gives a device.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The name of a number format in configurations and results.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}
