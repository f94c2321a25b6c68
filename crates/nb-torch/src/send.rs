//! Copies from the host to a device.

use tch::{Device, Tensor};

/// Copies a tensor from the host to `device`. A copy to a GPU does not block the host: it comes from pinned memory, in order
/// after the GPU's earlier work.
///
/// ```
/// use tch::{Device, Tensor};
/// let labels = nb_torch::send(&Tensor::from_slice(&[1i64, 0, 2]), Device::Cpu);
/// assert_eq!(Vec::<i64>::try_from(labels).unwrap(), [1, 0, 2]);
/// ```
pub fn send(tensor: &Tensor, device: Device) -> Tensor {
    match device {
        // If memory cannot be pinned, the copy blocks.
        Device::Cuda(_) => match tensor.f_pin_memory(device) {
            Ok(pinned) => pinned.to_device_(device, tensor.kind(), true, false),
            Err(_) => tensor.to_device(device),
        },
        _ => tensor.to_device(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on every device of the machine.
    #[test]
    fn a_sent_tensor_arrives() {
        let original = Tensor::from_slice(&[[1.5_f32, -2.0], [0.0, 3.0]].concat()).view([2, 2]);
        crate::cuda::preload();
        for device in [Device::Cpu, Device::cuda_if_available()] {
            let sent = send(&original, device);
            assert_eq!(sent.device(), device);
            assert!(sent.to_device(Device::Cpu).equal(&original));
        }
    }
}
