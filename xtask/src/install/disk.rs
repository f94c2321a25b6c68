//! Folders and free space on the disk of the cache.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::progress;

pub(super) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Removes a file or a folder if it exists.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_free(title: &str, needed: u64, cache: &Path) -> Result<()> {
    let free = free_bytes(cache)?;
    if free < needed {
        bail!(
            "{title} needs {} in {}, but only {} are free: free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
            progress::size(needed),
            cache.display(),
            progress::size(free),
        );
    }
    Ok(())
}

/// Returns the bytes that an unprivileged user can still write on the disk of `folder`.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64> {
    let disk =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot query the free space in {}", folder.display()))?;
    Ok(disk.f_bavail * disk.f_frsize)
}

pub(super) fn explain_full_disk(error: anyhow::Error, cache: &Path) -> anyhow::Error {
    let full = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
    if !full {
        return error;
    }
    error.context(format!(
        "the disk of {} is full: free some space and run the command again, or set XDG_CACHE_HOME to a folder on a larger disk",
        cache.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_in_any_error() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = explain_full_disk(anyhow::Error::new(full).context("cannot write a"), Path::new("/c"));
        assert!(format!("{error:#}").starts_with("the disk of /c is full: free some space"));
        let other = explain_full_disk(anyhow::anyhow!("cannot write a"), Path::new("/c"));
        assert_eq!(format!("{other:#}"), "cannot write a");
    }
}
