//! The binary `nb-bench`: measurements over the library `nb-bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nb_torch::env_defaults::limit_primitive_cache();
    nb_alloc::purge_in_background(); // a thread, so after the variables
    // Before anything touches libtorch: its list of devices is made once.
    let preloaded = nb_torch::cuda::preload();
    nb_bench::cli::main(&preloaded)
}
