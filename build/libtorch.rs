//! The build script of every crate that uses libtorch. It lets programs and tests find libtorch at run time.
//!
//! The `build.rs` of each of these crates is a symbolic link to this file; `cargo package` follows the link. The build script
//! of the bindings cannot do this, because link arguments of a dependency do not reach a program. The set-up writes
//! the same path into the workspace's flags, but `RUSTFLAGS` replaces those, and a crate outside the workspace does not
//! have them. The script does it in two ways, each for cases that the other does not cover:
//!
//! - A run path for the programs, tests and benches of this package, which then find libtorch even if cargo does not
//!   start them.
//! - A folder in `OUT_DIR` as a search path. cargo adds such folders to `LD_LIBRARY_PATH` for everything that it starts. This
//!   covers documentation tests and the programs of all crates that depend on this one.
//!
//! Without `LIBTORCH`, the script does nothing. Documentation can be built that way.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_LIB");
    // As in the bindings, LIBTORCH_LIB takes precedence.
    let root = env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH"));
    let (Some(root), Some(out)) = (root, env::var_os("OUT_DIR")) else {
        return Ok(());
    };
    if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|os| os != "linux") {
        return Ok(());
    }
    let libraries = PathBuf::from(root).join("lib");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libraries.display());

    // cargo passes on only search paths inside its target folder, so the path is that of a link there.
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
