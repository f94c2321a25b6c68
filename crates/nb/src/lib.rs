//! The command `nb`: command line, logging and signals around the libraries `nb-train` and `nb-infer`.
//!
//! It is a library so that tests can build the same program; nothing else depends on it.

/// Prints a line as `println!` does, but returns an error if the pipe is closed.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), $($arg)*)?
    }};
}

mod cli;
mod commands;
mod logging;
mod model;
#[cfg(feature = "train")]
mod signals;

pub use cli::main;
