//! Compiles the C++ shim against the headers of the libtorch that is linked. They do not need CUDA.

use std::env;
use std::path::PathBuf;

const SHIM: &str = "cpp/shim.cpp";

fn main() {
    println!("cargo::rerun-if-changed={SHIM}");
    if env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        return;
    }
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file(SHIM).warnings(false);
    // Set by torch-sys' build script: the folder of libraries, next to which the headers are.
    let libraries = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    let include = libraries.map(|libraries| libraries.with_file_name("include"));
    match include.filter(|include| include.join("ATen/Context.h").is_file()) {
        Some(include) => build.include(include.join("torch/csrc/api/include")).include(include),
        None => panic!("libtorch's headers (ATen/Context.h) are not in the folder `include` beside its libraries"),
    };
    build.compile("nb_torch_shim");
}
