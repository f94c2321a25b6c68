//! The binary `nb`: commands over the library `nb-train`.

use std::process::ExitCode;

use nb_alloc as _;

fn main() -> ExitCode {
    nb_train::surroundings::keep_few();
    nb_train::surroundings::keep_quiet();
    // Before anything touches libtorch: its list of devices is made once.
    let preloaded = nb_train::cuda::preload();
    nb_train::cli::main(&preloaded)
}
