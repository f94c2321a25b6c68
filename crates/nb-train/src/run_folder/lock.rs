//! The lock of a run folder. One process holds it at a time, and releases it when it ends, even if it crashes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Name of the lock file in a run folder. The lock is an operating-system lock on the file; the file alone locks nothing.
pub(crate) const LOCK: &str = ".lock";

/// Number of attempts to take a lock before another process counts as its holder.
const ATTEMPTS: u32 = 5;

/// A folder's lock, held until this value is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// The lock lives as long as this handle.
    _file: File,
}

impl Lock {
    /// Takes the lock of `folder`, which must exist.
    ///
    /// # Errors
    /// If another process holds it, or if its file cannot be created.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        let context = || format!("cannot lock {}", path.display());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut file = options().create(true).open(&path).with_context(context)?;
            match file.try_lock() {
                // Another process may hold it only for a check.
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(TryLockError::WouldBlock) => bail!("{}", in_use(folder, &mut file)),
                locked => locked.map_err(std::io::Error::from).with_context(context)?,
            }
            // The previous holder may have removed the file in between; a lock on a removed file has no effect.
            if !is_same(&file, &path) {
                continue;
            }
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).with_context(context)?;
            return Ok(Self { path, _file: file });
        }
    }

    /// Checks that no process holds the lock of `folder`. Changes nothing.
    ///
    /// # Errors
    /// If one does.
    pub(crate) fn check(folder: &Path) -> Result<()> {
        let Ok(mut file) = options().open(folder.join(LOCK)) else { return Ok(()) };
        // Shared: two checks must not mistake each other for a run.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => bail!("{}", in_use(folder, &mut file)),
            _ => Ok(()), // released with the handle; if it cannot be locked, `take` reports that
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the release: otherwise a process could take a lock that is about to be removed. A leftover file does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

fn options() -> OpenOptions {
    OpenOptions::new().read(true).write(true).truncate(false).clone()
}

fn in_use(folder: &Path, file: &mut File) -> String {
    let mut holder = String::new();
    let read = file.rewind().and_then(|()| file.take(20).read_to_string(&mut holder));
    let process = match read {
        Ok(n) if n > 0 => format!(" (process {})", holder.trim()),
        _ => String::new(),
    };
    format!("another run uses {}{process}; choose another `output`, or wait until it ends", folder.display())
}

/// Returns whether `path` still names this file.
#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |m: &fs::Metadata| (m.dev(), m.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(a), Ok(b)) if identity(&a) == identity(&b))
}

/// Returns true: on non-Unix systems an open file cannot be removed.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        for error in [Lock::take(folder.path()).unwrap_err(), Lock::check(folder.path()).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("another run uses") && error.contains(&std::process::id().to_string()), "{error}");
        }
        drop(first);
        Lock::check(folder.path()).unwrap();
        assert!(!folder.path().join(LOCK).exists());
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_file_left_by_a_crash_locks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCK), "12345").unwrap();
        Lock::check(folder.path()).unwrap();
        Lock::take(folder.path()).unwrap();
    }
}
