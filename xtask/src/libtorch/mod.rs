//! Finds, checks and installs libtorch.
//!
//! Every command calls [`ensure()`]. In this order, it uses the folder in `LIBTORCH`, the one that an earlier set-up
//! wrote to `.cargo/local.toml`, or the set in the user's cache, which it installs if it is missing. On a machine that
//! is set up it only checks some files and starts no process.

pub(crate) mod gloo;
pub(crate) mod local_toml;
pub(crate) mod pins;
mod set;
mod version;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::{compiler, install, project};

pub(crate) use set::{Set, nvidia_driver};
pub(crate) use version::VERSION;

/// A libtorch to build with and to run on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Libtorch {
    /// The folder with `lib` and `include`.
    pub(crate) root: PathBuf,
    /// The way it was found.
    pub(crate) source: Source,
}

/// The way a libtorch was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is the folder in `LIBTORCH`.
    Environment,
    /// An earlier set-up chose it.
    Remembered,
    /// It is a set in the user's cache.
    Cache(Set),
}

/// Finds or installs libtorch, and updates `.cargo/local.toml` if needed.
///
/// `wish` is the set that the user requests.
pub(crate) fn ensure(wish: Option<Set>) -> Result<Libtorch> {
    let compiler = compiler::find()?;
    compiler::find_make()?;
    let libtorch = match find(wish)? {
        Found::Ready(libtorch) => libtorch,
        Found::Missing(set) => {
            install::install(&pins::package(set)?)?;
            Libtorch { root: set.folder()?.join("torch"), source: Source::Cache(set) }
        }
    };
    let headers = gloo::ensure(local_toml::read(project::GLOO_INCLUDE))?;
    local_toml::write(&libtorch.root, headers.as_deref(), compiler.cxx)?;
    Ok(libtorch)
}

/// The result of [`find`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Use this libtorch.
    Ready(Libtorch),
    /// Use this set, which is not installed.
    Missing(Set),
}

/// Finds the libtorch to use, without changing or starting anything.
pub(crate) fn find(wish: Option<Set>) -> Result<Found> {
    let variable = env::var_os("LIBTORCH").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    choose(variable, local_toml::read("LIBTORCH"), wish)
}

fn choose(variable: Option<PathBuf>, remembered: Option<PathBuf>, wish: Option<Set>) -> Result<Found> {
    // cargo sets the variable to the value in local.toml, so an equal value is not a request of the user.
    if let Some(root) = variable.filter(|root| Some(root) != remembered.as_ref()) {
        if let Some(set) = wish {
            bail!("LIBTORCH is set to {}, so --device {set} has no effect: unset LIBTORCH", root.display());
        }
        ensure!(root.is_absolute(), "LIBTORCH is {}: expected an absolute path", root.display());
        check(&root).context("LIBTORCH is not a usable folder: correct it, or unset it to let set-up install one")?;
        return Ok(Found::Ready(Libtorch { root, source: Source::Environment }));
    }
    if let (Some(root), None) = (remembered, wish)
        && check(&root).is_ok()
    {
        return Ok(Found::Ready(Libtorch { root, source: Source::Remembered }));
    }
    let set = wish.unwrap_or_else(Set::of_machine);
    let folder = set.folder()?;
    Ok(if install::is_installed(&folder) {
        Found::Ready(Libtorch { root: folder.join("torch"), source: Source::Cache(set) })
    } else {
        Found::Missing(set)
    })
}

/// Checks that `root` contains libraries and headers of the pinned version.
///
/// A folder in the project's cache must also have the mark of a finished installation.
pub(crate) fn check(root: &Path) -> Result<()> {
    let library = root.join("lib").join("libtorch_cpu.so");
    ensure!(library.is_file(), "{} does not exist, expected a folder with lib and include", library.display());
    let found = version::read(root)?;
    ensure!(found == VERSION, "{} contains libtorch {found}, expected {VERSION}", root.display());
    if let (Some(folder), Ok(cache)) = (root.parent(), project::cache())
        && folder.starts_with(cache)
    {
        ensure!(install::is_installed(folder), "{} is not a complete installation", folder.display());
    }
    Ok(())
}

/// Returns true if the libraries in `root` include CUDA's.
pub(crate) fn has_cuda(root: &Path) -> bool {
    root.join("lib").join("libtorch_cuda.so").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder that passes [`check`].
    fn libtorch(version: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lib")).unwrap();
        fs::write(root.path().join("lib/libtorch_cpu.so"), "").unwrap();
        fs::write(root.path().join("build-version"), version).unwrap();
        root
    }

    #[test]
    fn the_user_s_folder_comes_first_and_must_be_usable() {
        let (named, remembered, old) = (libtorch("2.11.0+cpu\n"), libtorch("2.11.0"), libtorch("2.4.1"));
        let found = choose(Some(named.path().into()), Some(remembered.path().into()), None).unwrap();
        let expected = Libtorch { root: named.path().into(), source: Source::Environment };
        assert_eq!(found, Found::Ready(expected));

        let error = choose(Some(old.path().into()), None, None).unwrap_err();
        assert!(format!("{error:#}").ends_with("contains libtorch 2.4.1, expected 2.11.0"), "{error:#}");
        let error = choose(Some("/nowhere/at/all".into()), None, None).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all/lib/libtorch_cpu.so does not exist"), "{error:#}");
        let error = choose(Some("libtorch".into()), None, None).unwrap_err();
        assert!(format!("{error:#}").contains("expected an absolute path"), "{error:#}");
        let error = choose(Some(named.path().into()), None, Some(Set::Cuda)).unwrap_err();
        assert!(format!("{error:#}").contains("--device cuda has no effect"), "{error:#}");
    }

    #[test]
    fn the_value_from_local_toml_is_not_a_request_of_the_user() {
        let remembered = libtorch("2.11.0");
        let path = || Some(remembered.path().to_owned());
        let expected = Libtorch { root: remembered.path().into(), source: Source::Remembered };
        assert_eq!(choose(path(), path(), None).unwrap(), Found::Ready(expected));
        fs::remove_file(remembered.path().join("lib/libtorch_cpu.so")).unwrap();
        // The folder is gone, which is no error: another one is found.
        assert!(choose(path(), path(), None).is_ok());
    }
}
