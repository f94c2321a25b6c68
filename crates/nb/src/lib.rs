//! The command `nb`: command line, logging and signals around the library `nb-train`.
//!
//! It is a library so that a test can build the same program; nothing else depends on it.

/// Like `println!`, but a closed pipe is an error to return, not a panic.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), $($arg)*)?
    }};
}

mod cli;
mod commands;
mod logging;
mod signals;

pub use cli::main;
