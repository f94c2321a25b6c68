//! Temporary names, and code shared by temporary files and folders.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prefix of files in progress.
pub(crate) const FILE: &str = ".tmp-";
/// Prefix of folders in progress.
pub(crate) const NEW_FOLDER: &str = ".new-";
/// Prefix of folders that contain a folder that is being replaced.
pub(crate) const OLD_FOLDER: &str = ".old-";

/// Distinguishes the temporary names of one process. The process id distinguishes the names of different processes.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Returns true if `name` is that of a file or folder in progress. Such entries remain only after a process was killed.
///
/// ```
/// assert!(nb_files::is_temporary(".new-4711-0"));
/// assert!(!nb_files::is_temporary("config.yaml"));
/// ```
pub fn is_temporary(name: &str) -> bool {
    // `.tmp` without the hyphen also recognises the names of earlier versions.
    [NEW_FOLDER, OLD_FOLDER, ".tmp"].iter().any(|prefix| name.starts_with(prefix))
}

/// Creates an entry with an unused name in `folder`. `create` must fail if the name is taken: another machine may use
/// the same process id in the same folder, and a killed process may have left an entry.
pub(crate) fn create_unique<T>(
    folder: &Path,
    prefix: &str,
    create: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{prefix}{}-{count}", process::id()));
        match create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(entry) => return Ok((path, entry)),
        }
    }
}

/// Returns the folder that contains `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Flushes the directory entry of `path` to disk, so that a crash cannot undo a rename.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(parent(path))
}

/// Flushes the entries of a folder to disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // On other systems, a folder cannot be opened as a file.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_taken_name_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let next = COUNTER.load(Ordering::Relaxed);
        for count in next..next + 20 {
            fs::write(folder.path().join(format!("{FILE}{}-{count}", process::id())), "left behind").unwrap();
        }
        let (path, _) = create_unique(folder.path(), FILE, |path| File::create_new(path)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert!(is_temporary(path.file_name().unwrap().to_str().unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 21);
    }
}
