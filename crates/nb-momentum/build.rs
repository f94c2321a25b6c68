//! The build script of every crate on libtorch: lets what is built here find libtorch when it runs.
//!
//! `build.rs` of these crates is a link to this file, so that there is one of it; `cargo package` follows the link.
//! The bindings' own build script cannot do this, since link arguments of a dependency don't reach a program.
//! Set-up writes the same path into the workspace's flags, which is not enough: `RUSTFLAGS` takes their place where it
//! is set, and a crate outside the workspace has none. Two ways, each for what the other does not reach:
//!
//! - A run path for this package's own programs, tests and benches: they find it also when started by themselves.
//! - A folder in `OUT_DIR` as a search path. cargo puts those into `LD_LIBRARY_PATH` for whatever it starts, which
//!   serves documentation tests and the programs of any crate that depends on this one.
//!
//! Where `LIBTORCH` is not set there is nothing to find: documentation is built like that.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_LIB");
    // The bindings look for libraries in the second where it is set.
    let root = env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH"));
    let (Some(root), Some(out)) = (root, env::var_os("OUT_DIR")) else {
        return Ok(());
    };
    if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|os| os != "linux") {
        return Ok(());
    }
    let libraries = PathBuf::from(root).join("lib");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libraries.display());

    // cargo passes on only search paths inside its target folder: hence the link.
    let link = Path::new(&out).join("libtorch");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&libraries, &link)?;
    println!("cargo::rustc-link-search=native={}", link.display());
    Ok(())
}

#[cfg(unix)]
fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}
