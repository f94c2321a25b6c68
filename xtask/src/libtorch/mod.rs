//! libtorch on this machine: which one is used, whether it is whole, and how it gets there.
//!
//! [`ensure()`] is what every command calls. It takes, in this order, what the user names in `LIBTORCH`, what an earlier
//! set-up has written to `.cargo/local.toml`, and the set in the user's
//! cache, which it installs where it is missing. A machine that is set up costs it some file checks and starts no process.

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
    /// The folder that holds `lib` and `include`.
    pub(crate) root: PathBuf,
    /// How it was found.
    pub(crate) source: Source,
}

/// How a libtorch was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The user names it in `LIBTORCH`.
    Environment,
    /// An earlier set-up chose it.
    Remembered,
    /// It is one of the sets in the user's cache.
    Cache(Set),
}

/// Finds libtorch, or installs it, and writes `.cargo/local.toml` where that does not say so already.
///
/// `wish` is the set that the user asks for by name.
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

/// What [`find`] comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This one is to be used.
    Ready(Libtorch),
    /// This set is to be used and is not installed.
    Missing(Set),
}

/// Finds the libtorch to use. Changes nothing and starts nothing.
pub(crate) fn find(wish: Option<Set>) -> Result<Found> {
    let variable = env::var_os("LIBTORCH").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    choose(variable, local_toml::read("LIBTORCH"), wish)
}

fn choose(variable: Option<PathBuf>, remembered: Option<PathBuf>, wish: Option<Set>) -> Result<Found> {
    // cargo itself sets the variable to what local.toml holds, so an equal value says nothing about the user's wish.
    if let Some(root) = variable.filter(|root| Some(root) != remembered.as_ref()) {
        if let Some(set) = wish {
            bail!("LIBTORCH is set to {}, so --device {set} has no say: unset LIBTORCH", root.display());
        }
        ensure!(root.is_absolute(), "LIBTORCH is {}: expected an absolute path", root.display());
        check(&root).context(
            "LIBTORCH names a folder that cannot be used; correct it, or unset it to let set-up install one",
        )?;
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

/// Checks that `root` holds libraries and headers of the pinned version.
///
/// A folder in this project's cache must also carry the mark of a finished installation.
pub(crate) fn check(root: &Path) -> Result<()> {
    let library = root.join("lib").join("libtorch_cpu.so");
    ensure!(library.is_file(), "{} does not exist: expected a folder with lib and include in it", library.display());
    let found = version::read(root)?;
    ensure!(found == VERSION, "{} holds libtorch {found}: expected {VERSION}", root.display());
    if let (Some(folder), Ok(cache)) = (root.parent(), project::cache())
        && folder.starts_with(cache)
    {
        ensure!(install::is_installed(folder), "{} is not a whole installation", folder.display());
    }
    Ok(())
}

/// Whether the libraries in `root` include CUDA's.
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
    fn what_the_user_names_comes_first_and_must_be_right() {
        let (named, remembered, old) = (libtorch("2.11.0+cpu\n"), libtorch("2.11.0"), libtorch("2.4.1"));
        let found = choose(Some(named.path().into()), Some(remembered.path().into()), None).unwrap();
        let expected = Libtorch { root: named.path().into(), source: Source::Environment };
        assert_eq!(found, Found::Ready(expected));

        let error = choose(Some(old.path().into()), None, None).unwrap_err();
        assert!(format!("{error:#}").ends_with("holds libtorch 2.4.1: expected 2.11.0"), "{error:#}");
        let error = choose(Some("/nowhere/at/all".into()), None, None).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all/lib/libtorch_cpu.so does not exist"), "{error:#}");
        let error = choose(Some("libtorch".into()), None, None).unwrap_err();
        assert!(format!("{error:#}").contains("expected an absolute path"), "{error:#}");
        let error = choose(Some(named.path().into()), None, Some(Set::Cuda)).unwrap_err();
        assert!(format!("{error:#}").contains("--device cuda has no say"), "{error:#}");
    }

    #[test]
    fn what_cargo_passes_on_from_local_toml_is_no_wish_of_the_user() {
        let remembered = libtorch("2.11.0");
        let path = || Some(remembered.path().to_owned());
        let expected = Libtorch { root: remembered.path().into(), source: Source::Remembered };
        assert_eq!(choose(path(), path(), None).unwrap(), Found::Ready(expected));
        fs::remove_file(remembered.path().join("lib/libtorch_cpu.so")).unwrap();
        // It is gone: no error, another one is looked for.
        assert!(choose(path(), path(), None).is_ok());
    }
}
