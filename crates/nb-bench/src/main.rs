//! The binary `nb-bench`: a thin layer over the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    nb_torch::env_defaults::limit_primitive_cache();
    nb_alloc::purge_in_background(); // starts a thread, so it comes after the environment variables are set
    // Must precede every other use of libtorch, which lists its devices only once.
    let preloaded = nb_torch::cuda::preload();
    nb_bench::cli::main(&preloaded)
}
