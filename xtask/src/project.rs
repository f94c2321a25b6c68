//! Where the project lies, and how it calls cargo and keeps its cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The variable that tells builds where Gloo's headers are.
pub(crate) const GLOO_INCLUDE: &str = "NB_GLOO_INCLUDE";

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // cargo sets the variable for `cargo run`; the compiled-in value serves a binary that is started by itself.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().map(Path::to_owned).unwrap_or(manifest_dir)
}

/// Where cargo builds the workspace, unless its config says otherwise.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A call of cargo in the workspace's root.
///
/// `LIBTORCH` and the folder of Gloo's headers are left out: cargo has put them into this process from
/// `.cargo/local.toml`, possibly before set-up changed that file. Without them every cargo started here sees the same value as one that is started by hand.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env_remove("LIBTORCH").env_remove(GLOO_INCLUDE);
    command
}

/// The folder of this project in the user's cache: `$XDG_CACHE_HOME/newsbert` or `~/.cache/newsbert`.
///
/// # Errors
///
/// Neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(user_cache()?.join("newsbert"))
}

/// The user's cache folder.
pub(crate) fn user_cache() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("found no cache folder: set HOME, or XDG_CACHE_HOME, to an absolute path")
}

/// Looks `name` up in `PATH`. Starts nothing.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
