//! Zeros that take memory only where something is written.

use tch::{Device, Kind, Tensor};

use crate::shim;

/// Creates a tensor of `count` zeros, f32. On the CPU, the system provides a page of it, usually 4 kB, when an entry of the page is
/// first written. Pages that are only read take no memory: a sparsely filled buffer costs what it holds.
///
/// Writing zeros, as `zero_` does, takes memory, too. On other devices, the tensor is an ordinary one.
///
/// # Panics
///
/// As [`Tensor::zeros`], if there is no room in the address space. Memory that runs out later ends the process, as it may for any
/// other allocation.
///
/// ```
/// use nb_torch::zeros_on_demand;
/// use tch::{Device, Kind};
/// let buffer = zeros_on_demand(1 << 20, Device::Cpu);
/// let _ = buffer.narrow(0, 5000, 3).fill_(1.0); // takes one page or two of 1,024
/// assert_eq!(buffer.sum(Kind::Float).double_value(&[]), 3.0);
/// ```
pub fn zeros_on_demand(count: i64, device: Device) -> Tensor {
    let mapped = (device == Device::Cpu && count > 0).then(|| shim::zeros_on_demand(count));
    match mapped {
        Some(Ok(zeros)) => zeros,
        // Ordinary memory may still be there, and otherwise libtorch says why.
        _ => Tensor::zeros([count], (Kind::Float, device)),
    }
}

/// Allocates the pages of a part of [`zeros_on_demand`] that is going to be written, all at once, which costs a fraction of doing so
/// one by one. Values stay the same. It does nothing on Linux before 5.14 and on other systems.
pub fn populate(entries: &mut [f32]) {
    if !entries.is_empty() {
        shim::populate(entries);
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::cpu_slices::{with_slices, write};

    /// Returns the memory of the mapping that contains the tensor's first entry, in MB.
    fn memory(tensor: &Tensor) -> u64 {
        let address = tensor.data_ptr() as u64;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let is_inside = |line: &&str| {
            let Some((first, end)) = line.split(' ').next().and_then(|range| range.split_once('-')) else {
                return false;
            };
            let number = |text| u64::from_str_radix(text, 16);
            matches!((number(first), number(end)), (Ok(first), Ok(end)) if (first..end).contains(&address))
        };
        let lines = maps.lines().skip_while(|line| !is_inside(line));
        let kilobytes = lines.skip(1).find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        kilobytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// One test, since two mappings side by side are one to the system.
    #[test]
    fn only_pages_that_are_written_or_populated_take_memory() {
        const MEGABYTE: usize = 1 << 18; // entries
        let mut zeros = zeros_on_demand(64 * MEGABYTE as i64, Device::Cpu);
        assert_eq!(zeros.norm().double_value(&[]), 0.0);
        assert_eq!(memory(&zeros), 0, "reading takes none");
        let _ = zeros.narrow(0, 0, 8 * MEGABYTE as i64).fill_(1.0);
        assert_eq!(memory(&zeros), 8);
        with_slices(write::<f32>(&mut zeros), |entries| {
            populate(&mut entries[..0]);
            populate(&mut entries[MEGABYTE..24 * MEGABYTE]);
        });
        let taken = memory(&zeros);
        assert!(taken == 24 || taken == 8, "{taken} MB; 8 before Linux 5.14");
        assert_eq!(zeros.sum(Kind::Float).double_value(&[]), 8.0 * MEGABYTE as f64);
        let view = zeros.narrow(0, 7, 5);
        drop(zeros);
        assert_eq!(view.sum(Kind::Float).double_value(&[]), 5.0);
    }

    #[test]
    fn no_entry_and_too_many() {
        assert_eq!(zeros_on_demand(0, Device::Cpu).size(), [0]);
        for count in [-1, 1 << 60, (1 << 62) + 1] {
            assert!(std::panic::catch_unwind(|| zeros_on_demand(count, Device::Cpu)).is_err(), "{count}");
        }
    }
}
