//! Compiles the C++ shim over libtorch's process groups if the headers that it needs are present: Gloo's, and NCCL's
//! next to a libtorch with CUDA. Without them, the crate still builds, but joining a group of several processes fails
//! with an error that names what is missing.

use std::env;
use std::path::{Path, PathBuf};

const SHIM: &str = "cpp/shim.cpp";
/// The variable that names the folder of Gloo's headers, which libtorch's wheels lack.
const GLOO: &str = "NB_GLOO_INCLUDE";

/// The usual folders of these headers. Their version need not match the Gloo in libtorch: the shim only passes on
/// pointers to Gloo's objects and never reads the objects.
const USUAL: [&str; 2] = ["/usr/include", "/usr/local/include"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(nb_gloo, nb_nccl)");
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-env-changed={GLOO}");
    if env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        return;
    }
    let Some(torch) = torch().filter(|torch| has(torch, "torch/csrc/distributed/c10d/ProcessGroupGloo.hpp")) else {
        println!("cargo::warning=built without training on several processes: libtorch's headers lack process groups");
        return;
    };
    let Some(gloo) = gloo() else {
        // This lets cargo notice a later installation.
        USUAL.iter().for_each(|folder| println!("cargo::rerun-if-changed={folder}/gloo"));
        println!(
            "cargo::warning=built without training on several processes: Gloo's headers are neither in {GLOO} nor in \
             /usr/include (Debian's package libgloo-dev; run `cargo xtask setup` to get it)"
        );
        return;
    };
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file(SHIM).define("USE_C10D_GLOO", None).warnings(false);
    for folder in [torch.join("torch/csrc/api/include"), torch.clone(), gloo] {
        build.flag("-isystem").flag(folder);
    }
    if let Some(folders) = nccl(&torch) {
        build.define("USE_CUDA", None).define("USE_C10D_NCCL", None);
        for folder in folders {
            build.flag("-isystem").flag(folder);
        }
        println!("cargo::rustc-cfg=nb_nccl");
    }
    build.compile("nb_dist_shim");
    println!("cargo::rustc-cfg=nb_gloo");
}

/// Returns the folder of headers of the libtorch that is linked.
fn torch() -> Option<PathBuf> {
    Some(PathBuf::from(env::var_os("DEP_TCH_LIBTORCH_LIB")?).parent()?.join("include"))
}

fn gloo() -> Option<PathBuf> {
    let named = env::var_os(GLOO).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.into_iter().chain(USUAL.map(PathBuf::from)).find(|folder| has(folder, "gloo/algorithm.h"))
}

/// Returns the folders of CUDA's and NCCL's headers, which NVIDIA's wheels install next to a libtorch with CUDA.
fn nccl(torch: &Path) -> Option<[PathBuf; 2]> {
    let root = torch.parent()?;
    let nvidia = root.parent()?.join("nvidia");
    let (cuda, nccl) = (nvidia.join("cu13/include"), nvidia.join("nccl/include"));
    let is_complete = root.join("lib/libtorch_cuda.so").is_file()
        && has(&cuda, "cuda_runtime.h")
        && has(&cuda, "crt/host_config.h")
        && has(&cuda, "nv/target")
        && has(&nccl, "nccl.h");
    is_complete.then_some([cuda, nccl])
}

fn has(folder: &Path, header: &str) -> bool {
    folder.join(header).is_file()
}
