//! The binary `nb-bench`: measurements over the library `nb-bench`.

use std::process::ExitCode;

use nb_alloc as _;

fn main() -> ExitCode {
    nb_train::surroundings::keep_few();
    // Before anything touches libtorch: its list of devices is made once.
    let preloaded = nb_train::cuda::preload();
    nb_bench::cli::main(&preloaded)
}
