//! The tools that build C and C++ code: a compiler and `make`.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::project;

/// The compiler that builds use by default.
const DEFAULT: &str = "c++";

/// A C++ compiler on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// The path of the program.
    pub(crate) path: PathBuf,
    /// The value of `CXX` that makes builds use it; `None` if they use it by default.
    pub(crate) cxx: Option<&'static str>,
}

/// Finds the compiler that builds will use: `CXX` if set, else `c++`, else one that `CXX` must name.
///
/// # Errors
///
/// There is none; the message names the package to install.
pub(crate) fn find() -> Result<Compiler> {
    if let Some(cxx) = env::var("CXX").ok().filter(|cxx| !cxx.trim().is_empty()) {
        // `CXX` may carry a wrapper and flags: "ccache g++ -m64".
        let program = cxx.split_whitespace().next().unwrap_or(DEFAULT);
        let path = project::which(program)
            .with_context(|| format!("CXX is {cxx:?}, but no program {program:?} exists: unset or correct it"))?;
        return Ok(Compiler { path, cxx: None });
    }
    [(DEFAULT, None), ("g++", Some("g++")), ("clang++", Some("clang++"))]
        .into_iter()
        .find_map(|(name, cxx)| Some(Compiler { path: project::which(name)?, cxx }))
        .context(
            "found no C++ compiler (c++, g++ or clang++) to build the bindings of libtorch: install one \
             (Debian and Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`; Arch: `pacman -S gcc`)",
        )
}

/// Finds `make`, which builds the allocator.
///
/// # Errors
///
/// There is none; the message names the package to install.
pub(crate) fn find_make() -> Result<PathBuf> {
    project::which("make").context(
        "found no make to build the allocator (jemalloc): install it \
         (Debian and Ubuntu: `apt install make`; Fedora: `dnf install make`; Arch: `pacman -S make`)",
    )
}
