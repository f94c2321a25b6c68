//! The program `nb`: sets the environment, then runs the command line.

use std::process::ExitCode;

#[cfg(feature = "train")]
fn main() -> ExitCode {
    // Before any thread exists, and before libtorch reads the environment.
    nb_torch::env_defaults::limit_primitive_cache();
    nb_torch::env_defaults::silence_cpp_log();
    nb_alloc::purge_in_background(); // starts a thread
    // Before any use of libtorch, which lists the devices only once.
    let preloaded = nb_torch::cuda::preload();
    nb::main(&preloaded)
}

#[cfg(not(feature = "train"))]
fn main() -> ExitCode {
    nb_alloc::purge_in_background(); // starts a thread
    nb::main()
}
