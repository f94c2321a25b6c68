//! Gloo's headers, without which the build has no training on several processes. libtorch contains Gloo, but its wheels
//! lack these headers. Debian and its derivatives have them in a package, which is unpacked into the cache without
//! installing it. Everything else works without them, so it is not an error if they are unavailable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::install;
use crate::progress::say;
use crate::project::{self, GLOO_INCLUDE};

const PACKAGE: &str = "libgloo-dev";

/// Disk space needed to download it, at most; most of it is a list of packages.
const BYTES: u64 = 300_000_000;

/// The folders that builds search by default.
const USUAL: [&str; 2] = ["/usr/include", "/usr/local/include"];

/// Finds or downloads the headers. Returns the folder to set for builds; `None` if builds find the headers by
/// themselves or there are none.
///
/// # Errors
///
/// The user's folder does not contain them.
pub(crate) fn ensure(remembered: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let variable = std::env::var_os(GLOO_INCLUDE).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    // cargo sets the variable to the value in local.toml.
    if let Some(named) = variable.filter(|named| Some(named) != remembered.as_ref()) {
        ensure!(has(&named), "{GLOO_INCLUDE} is {}, expected a folder with gloo/algorithm.h", named.display());
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
        return Ok(None); // reported at the first attempt; `forget_failure` allows another
    }
    match download(&folder) {
        Ok(()) => Ok(Some(include)),
        Err(error) => {
            say(format!(
                "building without support for training on several processes, because Gloo's headers are unavailable: \
                 {error:#}. Everything else works; to add this support, set {GLOO_INCLUDE} to a folder with the headers"
            ));
            fs::write(&failed, format!("{error:#}\n")).with_context(|| format!("cannot write {}", failed.display()))?;
            Ok(None)
        }
    }
}

/// Lets the next call try again after a failure.
pub(crate) fn forget_failure() -> Result<()> {
    install::remove(&project::cache()?.join("gloo-headers").with_added_extension("failed"))
}

/// Returns the folder in which builds will find the headers, if any. Downloads nothing.
pub(crate) fn found(remembered: Option<PathBuf>) -> Option<PathBuf> {
    let usual = USUAL.iter().map(PathBuf::from);
    remembered.into_iter().chain(usual).find(|folder| has(folder))
}

fn has(folder: &Path) -> bool {
    folder.join("gloo").join("algorithm.h").is_file()
}

/// Downloads the package with apt, which checks its signature, and unpacks it to `folder`.
fn download(folder: &Path) -> Result<()> {
    for program in ["apt-get", "dpkg-deb"] {
        ensure!(project::which(program).is_some(), "found no {program} to download Debian's package {PACKAGE}");
    }
    install::make("Gloo's headers", folder, BYTES, |folder| has(&include(folder)), fill)
}

/// Returns the folder of the headers in an unpacked package.
fn include(folder: &Path) -> PathBuf {
    folder.join("usr").join("include")
}

fn fill(folder: &Path) -> Result<()> {
    let download = folder.join("download");
    // apt requires this folder.
    let lists = download.join("lists");
    fs::create_dir_all(lists.join("partial")).with_context(|| format!("cannot create {}", lists.display()))?;
    let lists_option = format!("Dir::State::lists={}", lists.display());
    let apt = |arguments: &[&str]| run(Command::new("apt-get").current_dir(&download).arg("-q").args(arguments));
    // If the machine has no list of packages, one is fetched for this download.
    apt(&["download", PACKAGE]).or_else(|_| {
        apt(&["-o", &lists_option, "update"])?;
        apt(&["-o", &lists_option, "download", PACKAGE])
    })?;
    let entries = fs::read_dir(&download).with_context(|| format!("cannot read {}", download.display()))?;
    let mut files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.with_context(|| format!("apt-get downloaded no {PACKAGE}"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
    ensure!(has(&include(folder)), "{PACKAGE} has no gloo/algorithm.h");
    install::remove(&download)
}

/// Runs `command` without showing its output.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", errors.lines().last().unwrap_or("no message"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_the_chosen_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has(folder.path()));
        fs::create_dir(folder.path().join("gloo")).unwrap();
        fs::write(folder.path().join("gloo/algorithm.h"), "").unwrap();
        assert_eq!(found(Some(folder.path().to_owned())), Some(folder.path().to_owned()));
    }
}
