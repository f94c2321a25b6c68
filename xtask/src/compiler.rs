//! What is built from C and C++: by which compiler, and that there is `make`.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::project;

/// The compiler that builds look for on their own.
const DEFAULT: &str = "c++";

/// A C++ compiler on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// The value that `CXX` must have for builds to find it; none where they find it on their own.
    pub(crate) cxx: Option<&'static str>,
}

/// Finds the compiler that builds will use: `CXX` if set, else `c++`, else one that must be named to them.
///
/// # Errors
///
/// There is none; the message says what to install.
pub(crate) fn find() -> Result<Compiler> {
    if let Some(cxx) = env::var("CXX").ok().filter(|cxx| !cxx.trim().is_empty()) {
        // `CXX` may carry a wrapper and flags: "ccache g++ -m64".
        let program = cxx.split_whitespace().next().unwrap_or(DEFAULT);
        let path = project::which(program)
            .with_context(|| format!("CXX is {cxx:?}, and there is no program {program:?}: unset it or correct it"))?;
        return Ok(Compiler { path, cxx: None });
    }
    [(DEFAULT, None), ("g++", Some("g++")), ("clang++", Some("clang++"))]
        .into_iter()
        .find_map(|(name, cxx)| Some(Compiler { path: project::which(name)?, cxx }))
        .context(
            "found no C++ compiler (c++, g++ or clang++), which the bindings of libtorch are built with: install one \
             (Debian and Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`; Arch: `pacman -S gcc`)",
        )
}

/// Finds `make`, which the allocator is built with.
///
/// # Errors
///
/// There is none; the message says what to install.
pub(crate) fn find_make() -> Result<PathBuf> {
    project::which("make").context(
        "found no make, which the allocator (jemalloc) is built with: install it \
         (Debian and Ubuntu: `apt install make`; Fedora: `dnf install make`; Arch: `pacman -S make`)",
    )
}
