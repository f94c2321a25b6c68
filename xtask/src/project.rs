//! The paths of the project and of its cache, and calls of cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The environment variable with the folder of Gloo's headers.
pub(crate) const GLOO_INCLUDE: &str = "NB_GLOO_INCLUDE";

/// Returns the root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    // cargo sets the variable for `cargo run`; a binary started directly uses the compiled-in value.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().map(Path::to_owned).unwrap_or(manifest_dir)
}

/// Returns cargo's target folder, ignoring cargo's configuration, which may change it.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Returns a command that runs cargo in the root of the workspace.
///
/// `LIBTORCH` and the folder of Gloo's headers are removed from its environment: cargo has set them for this process
/// from `.cargo/local.toml`, possibly before set-up changed that file. Without them it reads the file again, as a cargo
/// started by hand does.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env_remove("LIBTORCH").env_remove(GLOO_INCLUDE);
    command
}

/// Returns the project's folder in the user's cache: `$XDG_CACHE_HOME/newsbert` or `~/.cache/newsbert`.
///
/// # Errors
///
/// Neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(user_cache()?.join("newsbert"))
}

/// Returns the user's cache folder.
pub(crate) fn user_cache() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("found no cache folder: set HOME, or XDG_CACHE_HOME, to an absolute path")
}

/// Looks up a program in `PATH` without starting it.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
