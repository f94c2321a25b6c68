//! The wheels that libtorch consists of, each pinned to one file by its SHA-256.
//!
//! They are those of `torch` 2.11.0 and of its requirements for Linux on x86-64 (most of NVIDIA's come from
//! `cuda-toolkit` 13.0.2). `libtorch_cpu.so` is the same file in both sets and links to `libcudart` and `libcupti`, so
//! the small set has these two as well.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::set::Set;
use super::version::VERSION;
use crate::install::{Package, Wheel};

const TORCH: Wheel = Wheel {
    name: "torch",
    version: VERSION,
    platform: "manylinux_2_28_x86_64",
    bytes: 530_604_548,
    sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
};

const CUDART: Wheel = Wheel {
    name: "nvidia-cuda-runtime",
    version: "13.0.96",
    platform: "manylinux2014_x86_64",
    bytes: 2_243_632,
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
};

const CUPTI: Wheel = Wheel {
    name: "nvidia-cuda-cupti",
    version: "13.0.85",
    platform: "manylinux_2_25_x86_64",
    bytes: 10_715_597,
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
};

const CPU: [Wheel; 3] = [TORCH, CUDART, CUPTI];

const CUDA: [Wheel; 18] = [
    TORCH,
    CUDART,
    CUPTI,
    Wheel {
        name: "nvidia-cublas",
        version: "13.1.0.3",
        platform: "manylinux_2_27_x86_64",
        bytes: 423_133_236,
        sha256: "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
    },
    // Headers that the runtime's headers include.
    Wheel {
        name: "nvidia-cuda-cccl",
        version: "13.0.85",
        platform: "manylinux2014_x86_64",
        bytes: 3_120_526,
        sha256: "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649",
    },
    Wheel {
        name: "nvidia-cuda-crt",
        version: "13.0.88",
        platform: "manylinux2014_x86_64",
        bytes: 134_086,
        sha256: "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4",
    },
    Wheel {
        name: "nvidia-cuda-nvrtc",
        version: "13.0.88",
        platform: "manylinux2010_x86_64",
        bytes: 90_215_200,
        sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    },
    Wheel {
        name: "nvidia-cudnn-cu13",
        version: "9.19.0.56",
        platform: "manylinux_2_27_x86_64",
        bytes: 366_066_321,
        sha256: "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
    },
    Wheel {
        name: "nvidia-cufft",
        version: "12.0.0.61",
        platform: "manylinux2014_x86_64",
        bytes: 214_085_489,
        sha256: "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    },
    Wheel {
        name: "nvidia-cufile",
        version: "1.15.1.6",
        platform: "manylinux2014_x86_64",
        bytes: 1_223_672,
        sha256: "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
    },
    Wheel {
        name: "nvidia-curand",
        version: "10.4.0.35",
        platform: "manylinux_2_27_x86_64",
        bytes: 59_544_258,
        sha256: "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    },
    Wheel {
        name: "nvidia-cusolver",
        version: "12.0.4.66",
        platform: "manylinux_2_27_x86_64",
        bytes: 200_941_980,
        sha256: "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
    },
    Wheel {
        name: "nvidia-cusparse",
        version: "12.6.3.3",
        platform: "manylinux2014_x86_64",
        bytes: 145_942_937,
        sha256: "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
    },
    Wheel {
        name: "nvidia-cusparselt-cu13",
        version: "0.8.0",
        platform: "manylinux2014_x86_64",
        bytes: 169_884_119,
        sha256: "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd",
    },
    Wheel {
        name: "nvidia-nccl-cu13",
        version: "2.28.9",
        platform: "manylinux_2_18_x86_64",
        bytes: 196_493_177,
        sha256: "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42",
    },
    Wheel {
        name: "nvidia-nvjitlink",
        version: "13.0.88",
        platform: "manylinux2010_x86_64",
        bytes: 40_713_933,
        sha256: "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
    },
    Wheel {
        name: "nvidia-nvshmem-cu13",
        version: "3.4.5",
        platform: "manylinux2014_x86_64",
        bytes: 60_412_546,
        sha256: "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
    },
    Wheel {
        name: "nvidia-nvtx",
        version: "13.0.85",
        platform: "manylinux1_x86_64",
        bytes: 148_047,
        sha256: "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
    },
];

/// Returns the package that set-up installs for `set`.
///
/// # Errors
///
/// The wheels are for another system.
pub(crate) fn package(set: Set) -> Result<Package> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")),
        "set-up can install libtorch only on Linux (x86-64, glibc): set LIBTORCH to a folder with libtorch {VERSION}"
    );
    let folder = set.folder()?;
    Ok(match set {
        Set::Cpu => Package {
            title: format!("libtorch {VERSION} for the CPU"),
            folder,
            wheels: &CPU,
            unpacked_bytes: 500_000_000,
            place: place_cpu,
            finish: link_to_cpu_library,
        },
        Set::Cuda => Package {
            title: format!("libtorch {VERSION} with CUDA"),
            folder,
            wheels: &CUDA,
            unpacked_bytes: 3_800_000_000,
            place: place_cuda,
            finish: |_| Ok(()),
        },
    })
}

/// Returns the path of a file that a machine without a GPU needs.
fn place_cpu(entry: &str) -> Option<&str> {
    const LIBRARIES: [&str; 5] = [
        "torch/lib/libc10.so",
        "torch/lib/libgomp.so.1",
        "torch/lib/libtorch_cpu.so",
        "nvidia/cu13/lib/libcudart.so.13",
        "nvidia/cu13/lib/libcupti.so.13",
    ];
    (LIBRARIES.contains(&entry) || entry.starts_with("torch/include/")).then_some(entry)
}

/// Returns the path of a file that a machine with a GPU needs: all shared libraries except those for Python, and the
/// headers, some of which process groups over NCCL include, but not CCCL, the C++ library for kernels.
fn place_cuda(entry: &str) -> Option<&str> {
    const FOR_PYTHON: [&str; 3] =
        ["torch/lib/libtorch_python.so", "torch/lib/libshm.so", "torch/lib/libtorch_global_deps.so"];
    let (folder, file) = entry.rsplit_once('/')?;
    let library = folder.ends_with("/lib") && (file.ends_with(".so") || file.contains(".so."));
    let of_nvidia = entry.starts_with("nvidia/") && entry.contains("/include/") && !entry.contains("/include/cccl/");
    let header = of_nvidia || entry.starts_with("torch/include/");
    (library && !FOR_PYTHON.contains(&entry) || header).then_some(entry)
}

/// Replaces `libtorch.so`, which would load the CUDA libraries, by a linker script.
fn link_to_cpu_library(folder: &Path) -> Result<()> {
    let path = folder.join("torch/lib/libtorch.so");
    std::fs::write(&path, "INPUT(libtorch_cpu.so)\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_set_is_part_of_the_large_one() {
        assert!(CPU.iter().all(|wheel| CUDA.contains(wheel)));
        let mut names: Vec<_> = CUDA.iter().map(|wheel| wheel.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CUDA.len());
        assert!(CUDA.iter().all(|wheel| wheel.sha256.len() == 64 && wheel.platform.ends_with("x86_64")));
    }

    #[test]
    fn a_cpu_needs_headers_and_five_libraries() {
        assert_eq!(place_cpu("torch/lib/libtorch_cpu.so"), Some("torch/lib/libtorch_cpu.so"));
        assert!(place_cpu("torch/include/ATen/ATen.h").is_some());
        assert_eq!(place_cpu("torch/lib/libtorch.so"), None);
        assert_eq!(place_cpu("torch/lib/libtorch_cuda.so"), None);
        assert_eq!(place_cpu("torch/__init__.py"), None);
    }

    #[test]
    fn a_gpu_needs_every_library_and_header_that_is_not_for_python() {
        for entry in [
            "torch/lib/libtorch_cuda.so",
            "nvidia/cudnn/lib/libcudnn.so.9",
            "nvidia/cu13/lib/libnvrtc-builtins.so.13.0",
            "nvidia/cu13/include/nv/target",
            "nvidia/nccl/include/nccl.h",
        ] {
            assert_eq!(place_cuda(entry), Some(entry));
        }
        for entry in [
            "torch/lib/libtorch_python.so",
            "nvidia/cu13/lib/libcudart_static.a",
            "torch/_C.so",
            "nvidia/cu13/include/cccl/cuda/std/array",
        ] {
            assert_eq!(place_cuda(entry), None);
        }
    }
}
