//! The program `nb`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nb::main()
}
