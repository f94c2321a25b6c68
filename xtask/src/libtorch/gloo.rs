//! Gloo's headers, without which training on many processes is left out of the build. libtorch holds Gloo itself, but its
//! wheels lack these headers; Debian and its relatives have them in a package, which is unpacked into the cache, not
//! installed. Everything else works without them, so a machine where they cannot be had is no error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::install;
use crate::progress::say;
use crate::project::{self, GLOO_INCLUDE};

const PACKAGE: &str = "libgloo-dev";

/// What getting it takes on the disk, at most; most of it is a list of packages.
const BYTES: u64 = 300_000_000;

/// Where builds look on their own.
const USUAL: [&str; 2] = ["/usr/include", "/usr/local/include"];

/// Finds the headers, or gets them: the folder that builds must be told, none where they need not be told or there is none.
///
/// # Errors
///
/// The user names a folder without them.
pub(crate) fn ensure(remembered: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let variable = std::env::var_os(GLOO_INCLUDE).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    // cargo itself sets the variable to what local.toml holds.
    if let Some(named) = variable.filter(|named| Some(named) != remembered.as_ref()) {
        ensure!(has(&named), "{GLOO_INCLUDE} is {}: expected a folder with gloo/algorithm.h in it", named.display());
        return Ok(Some(named));
    }
    if let Some(remembered) = remembered.filter(|folder| has(folder)) {
        return Ok(Some(remembered));
    }
    if USUAL.iter().any(|folder| has(Path::new(folder))) {
        return Ok(None);
    }
    let folder = project::cache()?.join("gloo-headers");
    let include = include(&folder);
    if has(&include) {
        return Ok(Some(include));
    }
    let failed = folder.with_added_extension("failed");
    if failed.exists() {
        return Ok(None); // said when it was tried; `forget_failure` has it tried again
    }
    match get(&folder) {
        Ok(()) => Ok(Some(include)),
        Err(error) => {
            say(format!(
                "training on many processes is left out of the build, since Gloo's headers cannot be had: {error:#}. \
                 Everything else works; {GLOO_INCLUDE} may name a folder that holds them"
            ));
            fs::write(&failed, format!("{error:#}\n")).with_context(|| format!("cannot write {}", failed.display()))?;
            Ok(None)
        }
    }
}

/// Has the next call try again what failed before.
pub(crate) fn forget_failure() -> Result<()> {
    install::remove(&project::cache()?.join("gloo-headers").with_added_extension("failed"))
}

/// Where builds will find the headers, if there are any. Gets nothing.
pub(crate) fn found(remembered: Option<PathBuf>) -> Option<PathBuf> {
    let usual = USUAL.iter().map(PathBuf::from);
    remembered.into_iter().chain(usual).find(|folder| has(folder))
}

fn has(folder: &Path) -> bool {
    folder.join("gloo").join("algorithm.h").is_file()
}

/// Downloads the package through apt, which checks its signature, and unpacks it to `folder`.
fn get(folder: &Path) -> Result<()> {
    for program in ["apt-get", "dpkg-deb"] {
        ensure!(project::which(program).is_some(), "there is no {program}, which gets Debian's package {PACKAGE}");
    }
    install::make("Gloo's headers", folder, BYTES, |folder| has(&include(folder)), fill)
}

/// The headers of an unpacked package.
fn include(folder: &Path) -> PathBuf {
    folder.join("usr").join("include")
}

fn fill(folder: &Path) -> Result<()> {
    let download = folder.join("download");
    // apt wants this folder to be there.
    let lists = download.join("lists");
    fs::create_dir_all(lists.join("partial")).with_context(|| format!("cannot create {}", lists.display()))?;
    let own_lists = format!("Dir::State::lists={}", lists.display());
    let apt = |arguments: &[&str]| run(Command::new("apt-get").current_dir(&download).arg("-q").args(arguments));
    // Where the machine has no list of packages yet, one is made for this download.
    apt(&["download", PACKAGE]).or_else(|_| {
        apt(&["-o", &own_lists, "update"])?;
        apt(&["-o", &own_lists, "download", PACKAGE])
    })?;
    let entries = fs::read_dir(&download).with_context(|| format!("cannot read {}", download.display()))?;
    let mut files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.with_context(|| format!("apt-get has downloaded no {PACKAGE}"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
    ensure!(has(&include(folder)), "{PACKAGE} holds no gloo/algorithm.h");
    install::remove(&download)
}

/// Runs `command` to its end in silence.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", words.lines().last().unwrap_or("it failed without a word"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has(folder.path()));
        fs::create_dir(folder.path().join("gloo")).unwrap();
        fs::write(folder.path().join("gloo/algorithm.h"), "").unwrap();
        assert_eq!(found(Some(folder.path().to_owned())), Some(folder.path().to_owned()));
    }
}
